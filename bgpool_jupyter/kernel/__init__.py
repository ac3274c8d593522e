"""Inside IPython: cell bodies, capture of output, magics, and the kernel's end."""

"""The panel: what people look at.

``wire`` is what the kernel and the page say to each other, ``commands`` checks and carries out what
the page asks for, ``route`` lets it through while a cell runs, ``model`` is the observable picture of
a pool, ``panel`` the widget, ``static`` the page's side.
"""

from __future__ import annotations

from .model import PoolChange, PoolModel
from .panel import Panel, close_all, default_panel

__all__ = ["Panel", "PoolChange", "PoolModel", "close_all", "default_panel"]

/* The panel of a worker pool: one ES module for anywidget, without dependencies and without a build step.
 *
 *   glob      names matched with the meaning of Python's fnmatch.fnmatchcase
 *   format    durations, countdowns and times for people
 *   Store     one per widget model: the picture of the pool, the protocol, commands and their answers
 *   View      one per place where the panel is shown: toolbar, virtual rows, detail
 *
 * Text of workers reaches the page through textContent only. The page sends commands and view state;
 * what it shows of the pool comes from the kernel's messages and from nowhere else. */

// ---------------------------------------------------------------------------------------------- glob

/** Return a predicate that answers as fnmatch.fnmatchcase(name, pattern) does. Time grows with the product of the lengths. */
export function compileGlob(pattern) {
  const tokens = parseGlob(Array.from(pattern));
  return (name) => matchTokens(tokens, Array.from(name));
}

const STAR = { star: true };
const ANY = { test: () => true };

function parseGlob(chars) {
  const tokens = [];
  let at = 0;
  while (at < chars.length) {
    const char = chars[at++];
    if (char === "*") {
      if (tokens[tokens.length - 1] !== STAR) tokens.push(STAR);
    } else if (char === "?") {
      tokens.push(ANY);
    } else if (char === "[") {
      let end = at;
      if (chars[end] === "!") end++;
      if (chars[end] === "]") end++;
      while (end < chars.length && chars[end] !== "]") end++;
      if (end >= chars.length) {
        tokens.push(literal("["));
      } else {
        tokens.push(parseSet(chars.slice(at, end)));
        at = end + 1;
      }
    } else {
      tokens.push(literal(char));
    }
  }
  return tokens;
}

function literal(char) {
  return { test: (other) => other === char };
}

/** Parse what stands between the brackets: a hyphen makes a range where fnmatch makes one, ranges the wrong way round are empty. */
function parseSet(chars) {
  const chunks = [];
  let start = 0;
  let hyphen = chars[0] === "!" ? 2 : 1;
  for (;;) {
    hyphen = chars.indexOf("-", hyphen);
    if (hyphen < 0) break;
    chunks.push(chars.slice(start, hyphen));
    start = hyphen + 1;
    hyphen += 3;
  }
  const rest = chars.slice(start);
  if (rest.length || !chunks.length) chunks.push(rest);
  else chunks[chunks.length - 1].push("-");
  for (let k = chunks.length - 1; k > 0; k--) {
    const before = chunks[k - 1];
    if (code(before[before.length - 1]) > code(chunks[k][0])) {
      chunks.splice(k - 1, 2, before.slice(0, -1).concat(chunks[k].slice(1)));
    }
  }
  const negated = chunks[0][0] === "!";
  if (negated) chunks[0] = chunks[0].slice(1);
  const single = new Set(chunks.flat());
  const ranges = chunks.slice(1).map((chunk, k) => [code(chunks[k][chunks[k].length - 1]), code(chunk[0])]);
  return {
    test(char) {
      const point = code(char);
      return (single.has(char) || ranges.some(([low, high]) => low <= point && point <= high)) !== negated;
    },
  };
}

function code(char) {
  return char.codePointAt(0);
}

/** Match without recursion: on a mismatch the last star takes one character more. */
function matchTokens(tokens, chars) {
  let token = 0;
  let char = 0;
  let star = -1;
  let mark = 0;
  while (char < chars.length) {
    if (token < tokens.length && tokens[token] === STAR) {
      star = token++;
      mark = char;
    } else if (token < tokens.length && tokens[token].test(chars[char])) {
      token++;
      char++;
    } else if (star >= 0) {
      token = star + 1;
      char = ++mark;
    } else {
      return false;
    }
  }
  while (token < tokens.length && tokens[token] === STAR) token++;
  return token === tokens.length;
}

// -------------------------------------------------------------------------------------------- format

const UNITS = [[1e-3, "µs", 1e-6], [1, "ms", 1e-3], [60, "s", 1], [3600, "min", 60], [86400, "h", 3600], [Infinity, "d", 86400]];

/** Return a measured duration in two or three figures, the same words as bgpool_jupyter.table.format_duration. */
export function formatDuration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  // What would be rounded up to the next unit is written in it.
  const [, unit, size] = UNITS.find(([end]) => seconds < end * 0.9995);
  const value = seconds / size;
  return `${(Math.abs(value) < 10 ? value.toFixed(1) : value.toFixed(0)).replace(/\.0$/, "")} ${unit}`;
}

/** Return how long something has gone on or will take, to the second: "3.2 s", "4 min 10 s", "2 h 5 min". */
export function formatSpan(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return join(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86400) return join(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return join(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

function join(big, bigUnit, small, smallUnit) {
  return small ? `${big} ${bigUnit} ${small} ${smallUnit}` : `${big} ${bigUnit}`;
}

/** Return how long it is until an instant: "now", "in 3.2 s", "in 4 min 10 s". */
export function formatCountdown(seconds) {
  return seconds < 0.1 ? "now" : `in ${formatSpan(seconds)}`;
}

function formatClock(epoch) {
  return new Date(epoch * 1000).toLocaleTimeString([], { hour12: false });
}

/** Return a time for people, with the day where that is not today. */
function formatWhen(epoch) {
  const today = new Date(epoch * 1000).toDateString() === new Date().toDateString();
  return today ? formatClock(epoch) : formatInstant(epoch);
}

function formatInstant(epoch) {
  return new Date(epoch * 1000).toLocaleString();
}

// Controls, formats (with the marks that turn the writing direction), surrogates, private use, line separators.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const SHORT_ESCAPES = { "\t": "\\t", "\n": "\\n", "\r": "\\r" };

/** Return a text in one harmless line, as bgpool_jupyter.table.clean_text does: what is no visible character becomes an escape. */
export function cleanText(text) {
  return text.replace(UNSEEN, (char) => {
    const point = char.codePointAt(0);
    const [letter, digits] = point < 0x100 ? ["x", 2] : point < 0x10000 ? ["u", 4] : ["U", 8];
    return SHORT_ESCAPES[char] ?? `\\${letter}${point.toString(16).padStart(digits, "0")}`;
  });
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

// ------------------------------------------------------------------------------- what can be done to a row

/** The buttons, in their order. `can` says whether the verb would change a worker; the kernel decides again. */
export const VERBS = {
  start: { label: "Start", doing: "starting", icon: "play", can: (row) => !isStarted(row) },
  pause: { label: "Pause", doing: "pausing", icon: "pause", can: (row) => isStarted(row) && row.status !== "paused" },
  resume: { label: "Resume", doing: "resuming", icon: "resume", can: (row) => row.status === "paused" },
  run: { label: "Run now", doing: "running", icon: "bolt", can: (row) => isStarted(row) },
  stop: { label: "Stop", doing: "stopping", icon: "stop", can: (row) => isStarted(row) },
  remove: { label: "Remove", doing: "removing", icon: "trash", can: () => true },
};

/** What can be done to the pool as a whole, in the head: the one or the other. */
export const POOL_VERBS = {
  suspend: { label: "Suspend", name: "Suspend pool", doing: "suspending", icon: "pause", hint: "No run of any worker begins before the pool is resumed; none is paused for it" },
  resume: { label: "Resume pool", name: "Resume pool", doing: "resuming", icon: "resume", hint: "The workers go on; those that were paused stay paused" },
};

/** Return the words of a command: of one to the pool, or to workers. */
function wordsOf(command) {
  return command.ids === null ? POOL_VERBS[command.verb] : VERBS[command.verb];
}

function isStarted(row) {
  return Boolean(row.running) || row.status === "paused";
}

/** The words of a worker's state, in the order in which they ask for attention; each has a shape of its own. */
export const STATUSES = ["failed", "stopping", "running", "paused", "waiting", "new", "stopped"];
const CHIPS = ["all", "running", "waiting", "paused", "failed", "stopped", "marked"];
const RATES = [10, 4, 2, 1, 0]; // updates a second
const TABS = ["output", "error", "stack", "runs", "source"];

/** What a row's mark says; the detail has the kernel's own sentence, with figures. */
const REMARKS = {
  overruns: "Its runs take longer than its interval",
  deaf: "The run in flight never looks at the stop flag",
  silent: "No run has ended for five intervals",
  overdue: "The run in flight takes longer than its timeout",
};

/** Return what a row's marks say: the remarks as one sentence, and why it is an orphan; "" where there is nothing. */
export function marksOf(row) {
  const remarks = (row.lints ?? []).map((kind) => (Object.hasOwn(REMARKS, kind) ? REMARKS[kind] : kind));
  return { lints: remarks.join("; "), orphan: row.orphan ? `Orphan: ${row.orphan}` : "" };
}

/** Tell whether a row's last error is one: of a worker that was paused it may be the reason alone. */
export function hasFailed(row) {
  return row.status === "failed" || (Boolean(row.last_error) && row.failure_count > 0);
}

/** Tell whether something is wrong with a worker now: its last run failed, or it was paused because of its failures. */
export function isInTrouble(row) {
  return row.status === "failed" || (row.status === "paused" && hasFailed(row));
}

function isMarked(row) {
  return Boolean(row.lints?.length || row.orphan);
}

/** Return the verb of a row's first button. */
function primaryVerb(row) {
  if (row.status === "paused") return "resume";
  return isStarted(row) ? "pause" : "start";
}

// --------------------------------------------------------------------------------------------- Store

const ANSWER_LATE = 700; // ms after which a command without an answer is called queued
const MOST_ALARMS = 3; // failures that are said one by one; of more the count is said
const KEEP_ALIVE = 60_000; // ms between two signs that somebody looks; the kernel stops sending when they fail

/** The page's copy of the pool, one per widget model, shared by its views. */
export class Store {
  constructor(model) {
    this.model = model;
    this.client = Math.random().toString(36).slice(2, 10);
    this.rows = new Map();
    this.members = 0; // grows when a worker comes, goes, or is called otherwise
    this.trends = new Map();
    this.head = { pool: "", running: 0, paused: 0, suspended: false, closed: false };
    this.epoch = null;
    this.seq = 0;
    this.offset = null; // seconds that the browser's clock is ahead of the kernel's
    this.connection = "waiting"; // waiting | live | resync | restarted
    this.asked = 0; // when the outstanding request for a snapshot was sent, 0 without one
    this.pending = new Map(); // token -> command without an answer
    this.notice = null; // {text, ok} of the last answer
    this.detail = null;
    this.details = 0;
    this.stack = null; // the latest stack of a run in flight, of the worker whose stack is looked at
    this.stacks = 0;
    this.remarks = null; // what looks wrong with the worker whose detail is open, and what comes next
    this.frozen = null; // the kernel's time at which updates were paused
    this.troubled = new Set(); // ids of the workers in trouble: what becomes one is said aloud once
    this.alarms = []; // labels and errors of those that have not been said yet
    this.views = new Set();
    this.windows = new Map(); // view -> ids of the rows that it shows
    this.tokens = 0;
    this.onMessage = (content, buffers) => this.receive(content, buffers);
    model.on("msg:custom", this.onMessage);
    this.onLive = () => queueMicrotask(() => this.changed("status"));
    model.on("comm_live_update", this.onLive);
    this.onRate = () => this.setRate(model.get("refresh"));
    model.on("change:refresh", this.onRate);
    this.watchKernel();
    this.takeFirst();
    this.onRate();
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    this.model.off("comm_live_update", this.onLive);
    this.model.off("change:refresh", this.onRate);
    clearInterval(this.keeper);
    clearTimeout(this.noticeTimer);
    clearTimeout(this.showTimer);
    this.unwatchKernel?.();
    for (const command of this.pending.values()) clearTimeout(command.timer);
  }

  /** The widget's state carries a picture of the pool, so that the first view needs no round trip. */
  takeFirst() {
    const first = this.model.get("_first");
    if (!first || !first.byteLength) return;
    try {
      this.apply(decode(first));
      this.connection = "waiting"; // it may be an old picture: the kernel has not spoken yet
    } catch (error) {
      console.warn("bgpool: the first picture of the pool cannot be read", error);
    }
  }

  // JupyterLab's kernel connection, where the front end has one: it tells of a restart.
  watchKernel() {
    const kernel = this.kernel();
    if (!kernel?.statusChanged?.connect) return;
    const onStatus = (_, status) => {
      if (["restarting", "autorestarting", "dead", "terminating"].includes(status)) this.disconnected();
    };
    kernel.statusChanged.connect(onStatus);
    this.unwatchKernel = () => kernel.statusChanged.disconnect(onStatus);
  }

  kernel() {
    try {
      return this.model.widget_manager?.kernel ?? null;
    } catch {
      return null;
    }
  }

  disconnected() {
    if (this.connection === "restarted") return;
    this.connection = "restarted";
    this.frozen ??= this.now(); // nothing counts on: this is the last picture
    for (const command of this.pending.values()) clearTimeout(command.timer);
    this.pending.clear();
    this.changed("status");
  }

  attach(view) {
    this.views.add(view);
    if (this.views.size === 1) this.wake();
    this.keeper ??= setInterval(() => this.keep(), KEEP_ALIVE);
  }

  detach(view) {
    this.views.delete(view);
    this.windows.delete(view);
    if (!this.views.size) {
      clearInterval(this.keeper);
      this.keeper = undefined;
      this.sleep();
    }
  }

  isSeen() {
    return !document.hidden && [...this.views].some((view) => view.visible);
  }

  /** Ask for a whole picture; at most one request is under way. */
  wake() {
    if (this.connection === "restarted") return;
    if (this.asked && Date.now() - this.asked < 10_000) return;
    this.asked = Date.now();
    this.kept = 0;
    this.send({ kind: "hello", client: this.client });
  }

  /** Say that somebody still looks. The kernel answers when it reads its messages. */
  keep() {
    if (!this.isSeen() || this.kept) return;
    this.kept = Date.now();
    this.send({ kind: "keep", client: this.client });
  }

  /** Say whose detail is open. A message of its own: changes of traits wait for each other while a cell runs. */
  look(id) {
    if (this.looked === id || (id === null && this.looked === undefined)) return;
    this.looked = id;
    this.send({ kind: "look", client: this.client, id });
  }

  /** Say whose stack is looked at. */
  watchStack(id) {
    if (this.stacked === id || (id === null && this.stacked === undefined)) return;
    this.stacked = id;
    this.send({ kind: "stack", client: this.client, id });
  }

  /** Say which rows the views show: the last runs are sent for these only. */
  show(view, ids) {
    this.windows.set(view, ids);
    const all = [...new Set([...this.windows.values()].flat())].slice(0, 100);
    const signature = all.join();
    if (signature === this.trendsAsked || (!all.length && this.trendsAsked === undefined)) return;
    this.trendsAsked = signature;
    clearTimeout(this.showTimer);
    this.showTimer = setTimeout(() => this.send({ kind: "window", client: this.client, ids: all }), 120);
  }

  sleep() {
    this.send({ kind: "sleep", client: this.client });
    this.asked = 0;
  }

  send(content) {
    if (this.connection === "restarted") return;
    try {
      if (this.model.get("route") === "control" && this.sendControl(content)) return;
      this.model.send(content);
    } catch (error) {
      console.warn("bgpool: a message could not be sent", error);
    }
  }

  /** Our kernel side on ipykernel 6 reads messages on the control channel too, and that one answers while a cell runs. */
  sendControl(content) {
    const kernel = this.kernel();
    if (!kernel?.sendControlMessage) return false;
    const header = {
      msg_id: crypto.randomUUID(), msg_type: "comm_msg", session: kernel.clientId, username: kernel.username ?? "",
      version: "5.3", date: new Date().toISOString(),
    };
    const data = { method: "custom", content };
    const message = { header, parent_header: {}, metadata: {}, buffers: [], channel: "control" };
    kernel.sendControlMessage({ ...message, content: { comm_id: this.model.get("comm_name"), data } }, false, true);
    return true;
  }

  receive(content, buffers) {
    if (!content || typeof content !== "object") return;
    this.heard = Date.now();
    if (content.kind === "snapshot" || content.kind === "delta") {
      const picture = decode(buffers[0]);
      if (content.kind === "snapshot") this.apply(picture);
      else this.merge(picture);
      this.changed("data");
    } else if (content.kind === "answer") {
      this.answered(content);
    } else if (content.kind === "detail") {
      this.detail = { ...content, version: ++this.details };
      this.changed("detail");
    } else if (content.kind === "remarks") {
      this.remarks = content;
      this.changed("time");
    } else if (content.kind === "stack") {
      this.stack = { ...content, version: ++this.stacks };
      this.changed("detail");
    } else if (content.kind === "kept") {
      this.kept = 0;
      this.changed("status");
    }
  }

  apply(picture) {
    this.epoch = picture.epoch;
    this.seq = picture.seq;
    this.offset = null;
    this.fields = picture.fields;
    this.rows = new Map();
    this.members++;
    this.takeRows(picture.rows);
    for (const id of this.troubled) if (!this.rows.has(id)) this.troubled.delete(id);
    if (!this.acquainted) this.takeAlarms(); // what was there before is seen, and no news
    this.acquainted = true;
    this.asked = 0;
    this.looked = undefined; // the kernel may have forgotten us: say again what is looked at
    this.stacked = undefined;
    this.trendsAsked = undefined;
    this.connection = "live";
    this.takeHead(picture);
  }

  /** A message that does not follow the last one means that something was lost: what it says is true, the rest is asked for. */
  merge(picture) {
    if (!this.fields || picture.epoch !== this.epoch || picture.seq !== this.seq + 1) {
      this.connection = "resync";
      this.wake();
      if (!this.fields || picture.epoch !== this.epoch) return;
    } else if (this.connection === "waiting") {
      this.connection = "live";
    }
    this.seq = picture.seq;
    this.takeRows(picture.rows);
    for (const id of picture.gone) {
      this.members++;
      this.rows.delete(id);
      this.trends.delete(id);
      this.troubled.delete(id);
    }
    this.takeHead(picture);
  }

  takeRows(rows) {
    const fields = this.fields;
    for (const values of rows) {
      const row = {};
      for (let k = 0; k < fields.length; k++) row[fields[k]] = values[k];
      const old = this.rows.get(row.id);
      if (old?.name === row.name) row.match = old.match;
      row.label = old?.name === row.name ? old.label : cleanText(row.name);
      if (old?.name !== row.name || old.schedule !== row.schedule) this.members++;
      this.rows.set(row.id, row);
      this.watchTrouble(row);
    }
  }

  /** Note who got into trouble, and who is out of it. A run in flight says nothing yet: its worker may fail again. */
  watchTrouble(row) {
    if (!isInTrouble(row)) {
      if (row.status !== "running") this.troubled.delete(row.id);
    } else if (!this.troubled.has(row.id)) {
      this.troubled.add(row.id);
      if (this.alarms.length < MOST_ALARMS) this.alarms.push(`${row.label} ${row.status === "paused" ? "is" : "failed:"} ${row.last_error}`);
      else this.moreAlarms = (this.moreAlarms ?? 0) + 1;
    }
  }

  /** Return what is to be said aloud of new failures, once; "" where there are none. */
  takeAlarms() {
    const alarms = this.alarms;
    const more = this.moreAlarms ?? 0;
    this.alarms = [];
    this.moreAlarms = 0;
    return [...alarms, ...(more ? [`${plural(more, "more worker")} failed`] : [])].join("; ");
  }

  takeHead(picture) {
    // The message that came fastest tells the difference of the clocks best.
    const offset = Date.now() / 1000 - picture.now;
    this.offset = this.offset === null ? offset : Math.min(offset, this.offset + 0.001);
    Object.assign(this.head, picture.head);
    if (this.frozen !== null) this.frozen = picture.now;
    for (const [id, trend] of Object.entries(picture.trends ?? {})) this.trends.set(Number(id), trend);
  }

  /** The kernel's present time in epoch seconds, by the browser's clock. */
  now() {
    return this.frozen ?? Date.now() / 1000 - (this.offset ?? 0);
  }

  /** Take over the updates a second. While they are paused the clock of the picture stands still as well. */
  setRate(rate) {
    if (rate === 0) this.frozen ??= this.now();
    else if (this.connection !== "restarted") this.frozen = null;
    this.changed("data");
  }

  /** Send a command to the workers with these ids, or to the pool (null). */
  command(verb, ids) {
    if (ids?.length === 0 || this.connection === "restarted") return;
    const token = `${this.client}-${++this.tokens}`;
    const command = { verb, ids, late: false };
    command.timer = setTimeout(() => {
      command.late = true;
      this.changed("status");
    }, ANSWER_LATE);
    this.pending.set(token, command);
    this.notice = null;
    this.send(ids === null ? { kind: "pool", token, verb } : { kind: "command", token, verb, ids });
    this.changed("status");
  }

  answered(content) {
    const command = this.pending.get(content.token);
    if (command) clearTimeout(command.timer);
    this.pending.delete(content.token);
    if (content.text && (command || content.token === null)) {
      this.notice = { text: content.text, ok: content.ok };
      clearTimeout(this.noticeTimer);
      this.noticeTimer = setTimeout(() => {
        this.notice = null;
        this.changed("status");
      }, content.ok ? 6000 : 12_000);
    }
    this.changed("status");
  }

  isPending(id) {
    for (const command of this.pending.values()) if (command.ids?.length < 50 && command.ids.includes(id)) return command;
    return null;
  }

  changed(what) {
    for (const view of this.views) view.changed(what);
  }
}

function decode(buffer) {
  const bytes = buffer instanceof DataView ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength) : new Uint8Array(buffer);
  return JSON.parse(new TextDecoder().decode(bytes));
}

// -------------------------------------------------------------------------------------- small DOM help

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

const SVG = "http://www.w3.org/2000/svg";
const FILLED = {
  play: "M4.5 2.8v10.4L13 8z",
  resume: "M2.6 3h2.2v10H2.6zM6.6 2.8v10.4L14.4 8z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  stop: "M3.5 3.5h9v9h-9z",
  bolt: "M9.2 1.2 3.2 9h3.9l-.9 5.8L12.8 7H8.7z",
  trash: "M6 1.5h4l.6 1H13v1.3H3V2.5h2.4zM3.9 5h8.2l-.7 9.5H4.6z",
  paused: "M4 3h2.8v10H4zM9.2 3H12v10H9.2z",
  failed: "M8 1.2 15.2 14H.8zM7.2 5.8v4h1.6v-4zM7.2 10.9v1.6h1.6v-1.6z",
  stopping: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM8 3.4v9.2A4.6 4.6 0 0 1 8 3.4z",
  stopped: "M3 3h10v10H3zM4.6 4.6v6.8h6.8V4.6z",
  new: "M8 1.6 14.4 8 8 14.4 1.6 8zM8 3.9 3.9 8 8 12.1 12.1 8z",
  waiting: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM8 3.3a4.7 4.7 0 1 1 0 9.4 4.7 4.7 0 0 1 0-9.4zM7.3 4.8v3.6l2.6 1.6.7-1.1-1.9-1.2V4.8z",
  running: "M8 1.6a6.4 6.4 0 1 0 0 12.8A6.4 6.4 0 0 0 8 1.6zM8 3a5 5 0 1 1 0 10A5 5 0 0 1 8 3zM8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  warn: "M8 1.6 15 14H1zM8 4.6 3.3 12.6h9.4zM7.3 6.6v3.4h1.4V6.6zM7.3 10.7v1.3h1.4v-1.3z",
  orphan: "M6.3 3.2 8 1.5a4.4 4.4 0 0 1 6.3 6.2l-1.8 1.8-1.1-1.1 1.8-1.7A2.9 2.9 0 0 0 9.1 2.6L7.4 4.3zM9.7 12.8 8 14.5a4.4 4.4 0 0 1-6.3-6.2l1.8-1.8 1.1 1.1-1.8 1.7a2.9 2.9 0 0 0 4.1 4.1l1.7-1.7zM2.2 1.2l12.6 12.6-1 1L1.2 2.2z",
  search: "M6.8 1.6a5.2 5.2 0 1 0 3 9.4l3.4 3.4 1.2-1.2L11 9.8a5.2 5.2 0 0 0-4.2-8.2zM6.8 3.2a3.6 3.6 0 1 1 0 7.2 3.6 3.6 0 0 1 0-7.2z",
  cross: "M3.5 2.4 8 6.9l4.5-4.5 1.1 1.1L9.1 8l4.5 4.5-1.1 1.1L8 9.1l-4.5 4.5-1.1-1.1L6.9 8 2.4 3.5z",
};

function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "bgp-icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  setIcon(svg, name);
  return svg;
}

function setIcon(svg, name) {
  setAttribute(svg.firstChild, "d", FILLED[name] ?? "");
}

function button(className, label, iconName, onClick) {
  const node = make("button", className);
  node.type = "button";
  if (iconName) node.append(icon(iconName));
  if (label) node.append(make("span", "bgp-label", label));
  node.addEventListener("click", onClick);
  return node;
}

// ---------------------------------------------------------------------------------------------- View

const ROW_HEIGHT = 32; // px, the same as in panel.css
const OVERSCAN = 6; // rows painted above and below what is seen
const ASK_ABOVE = 20; // rows: a bulk command on more asks first
const ALARM_PAUSE = 5000; // ms between two things that are said aloud
const ACTIONS = 4; // buttons in a row: first (start, pause or resume), run now, stop, remove
const collator = new Intl.Collator(undefined, { numeric: true });

/** The columns. `key` sorts; `live` columns move by themselves and are sorted again at most once a second. */
const COLUMNS = [
  { name: "name", title: "Name" },
  { name: "schedule", title: "Schedule" },
  { name: "state", title: "State", key: (row) => STATUSES.indexOf(row.status), live: true },
  { name: "next", title: "Next run", key: (row) => row.next_run ?? Infinity, live: true },
  { name: "runs", title: "Runs", hint: "Runs since the start, and how many of them failed", key: (row) => -row.run_count, live: true },
  { name: "last", title: "Took", hint: "How long the last run took", key: (row) => -(row.last_duration ?? -1), live: true },
  { name: "trend", title: "Last runs", hint: "How long the last runs took, the newest at the right; a full red bar is a run that failed", fixed: true },
  { name: "error", title: "Last error", hint: "The error of the last run, or why the worker was paused", key: (row) => (row.last_error ? 0 : 1), live: true },
  { name: "actions", title: "", fixed: true },
];

let views = 0;

class View {
  constructor(store, model, el) {
    this.store = store;
    this.model = model;
    this.uid = `bgp${++views}`;
    this.visible = true;
    this.shown = []; // ids that the filter lets through, in their order
    this.active = null; // id of the row that the arrow keys are on
    this.activeAction = -1; // index of its button, -1 for the row itself
    this.activeHead = null; // name of the column whose title the arrow keys are on
    this.asking = null; // the command that waits for a confirmation
    this.dirty = new Set(["all"]);
    this.undo = [];
    this.pool = [];
    this.build(el);
    this.listen();
    store.attach(this);
    this.changed("all");
  }

  get(name) {
    return this.model.get(name);
  }

  set(name, value) {
    if (this.model.get(name) === value) return;
    this.model.set(name, value);
    this.model.save_changes();
  }

  // ------------------------------------------------------------------ construction

  build(el) {
    const root = make("div", "bgp");
    root.setAttribute("role", "region");
    root.setAttribute("aria-label", "Background workers");
    root.append(this.buildHead(), this.buildTools(), this.buildBulk(), this.buildAsk(), this.buildGrid(), this.buildDetail(), this.buildAlarm());
    this.root = root;
    el.append(root);
  }

  buildHead() {
    const head = make("div", "bgp-head");
    this.title = make("span", "bgp-title", "Background workers");
    this.poolName = make("span", "bgp-pool");
    this.threads = make("span", "bgp-threads");
    this.meter = make("span", "bgp-meter");
    this.threadsText = make("span");
    this.threads.append(this.meter, make("span", "bgp-threads-word", "threads"), this.threadsText);
    this.status = make("span", "bgp-status");
    this.status.setAttribute("role", "status");
    this.statusText = make("span");
    this.status.append(make("span", "bgp-dot"), this.statusText);
    const live = make("span", "bgp-live");
    live.append(this.status, this.buildHold(), this.buildRate());
    head.append(this.title, this.poolName, make("span", "bgp-space"), this.threads, live);
    return head;
  }

  /** One button for both ways: it has the focus still when it means the other one. */
  buildHold() {
    this.holdNode = button("bgp-button bgp-hold", POOL_VERBS.suspend.label, "pause", () => this.requestPool(this.poolVerb()));
    return this.holdNode;
  }

  /** What screen readers say when a worker fails; it is not seen, since the row and the chip show it. */
  buildAlarm() {
    this.alarm = make("div", "bgp-alarm bgp-unseen");
    this.alarm.setAttribute("role", "status");
    this.alarm.setAttribute("aria-live", "polite");
    this.alarm.setAttribute("aria-label", "Failures");
    return this.alarm;
  }

  buildRate() {
    this.rate = make("select", "bgp-rate");
    this.rate.setAttribute("aria-label", "Updates a second");
    this.rate.title = "Updates a second";
    for (const rate of RATES) {
      const option = make("option", "", rate ? `${rate} Hz` : "paused");
      option.value = rate;
      this.rate.append(option);
    }
    return this.rate;
  }

  buildTools() {
    const tools = make("div", "bgp-tools");
    const search = make("label", "bgp-search");
    this.filter = make("input");
    Object.assign(this.filter, { type: "text", placeholder: "filter names: poll*", spellcheck: false, autocomplete: "off", maxLength: 200 });
    this.filter.setAttribute("aria-label", "Filter workers by name, with * ? and [...]");
    this.key = make("kbd", "", "/");
    search.append(icon("search"), this.filter, this.key);
    this.chips = make("div", "bgp-chips");
    this.chips.setAttribute("role", "group");
    this.chips.setAttribute("aria-label", "Filter workers by state");
    this.chipNodes = new Map();
    for (const name of CHIPS) {
      const chip = button(`bgp-chip s-${name}`, name[0].toUpperCase() + name.slice(1), name === "all" ? null : name === "marked" ? "warn" : name, () => {
        this.hold = false;
        this.set("status", name);
        this.changed("all");
      });
      const count = make("span", "bgp-count");
      chip.append(count);
      this.chipNodes.set(name, { chip, count });
      this.chips.append(chip);
    }
    tools.append(search, this.chips);
    return tools;
  }

  buildBulk() {
    const bulk = make("div", "bgp-bulk");
    this.shownText = make("span", "bgp-shown");
    bulk.append(this.shownText);
    this.bulkNodes = new Map();
    for (const [verb, { label, icon: name }] of Object.entries(VERBS)) {
      const node = button(`bgp-button v-${verb}`, label, name, () => this.bulk(verb));
      this.bulkNodes.set(verb, { node, label: node.querySelector(".bgp-label") });
      bulk.append(node);
    }
    this.message = make("span", "bgp-message");
    this.message.setAttribute("role", "status");
    this.message.setAttribute("aria-live", "polite");
    bulk.append(make("span", "bgp-space"), this.message);
    return bulk;
  }

  buildAsk() {
    const ask = make("div", "bgp-ask");
    ask.setAttribute("role", "alertdialog");
    ask.setAttribute("aria-label", "Confirm");
    ask.setAttribute("aria-describedby", `${this.uid}-ask`);
    ask.hidden = true;
    this.askText = make("span", "bgp-ask-text");
    this.askText.id = `${this.uid}-ask`;
    this.askYes = button("bgp-button bgp-danger", "", null, () => this.answerAsk(true));
    this.askNo = button("bgp-button", "Cancel", null, () => this.answerAsk(false));
    ask.append(this.askText, this.askYes, this.askNo);
    this.askBar = ask;
    return ask;
  }

  buildGrid() {
    const frame = make("div", "bgp-frame");
    const grid = make("div", "bgp-grid");
    grid.tabIndex = 0;
    grid.setAttribute("role", "grid");
    grid.setAttribute("aria-label", "Workers");
    grid.setAttribute("aria-colcount", COLUMNS.length);
    const head = make("div", "bgp-row bgp-row-head");
    head.setAttribute("role", "row");
    head.setAttribute("aria-rowindex", 1);
    this.heads = new Map();
    for (const [index, column] of COLUMNS.entries()) {
      const cell = make("div", `bgp-cell c-${column.name}`);
      cell.id = `${this.uid}-head-${column.name}`;
      cell.setAttribute("role", "columnheader");
      cell.setAttribute("aria-colindex", index + 1);
      if (column.hint) cell.title = column.hint;
      if (column.fixed) {
        cell.append(column.title || make("span", "bgp-unseen", "Actions"));
      } else {
        const sorter = button("bgp-sort", column.title, null, () => this.sortBy(column.name));
        sorter.tabIndex = -1;
        sorter.append(make("span", "bgp-arrow"));
        cell.append(sorter);
        this.heads.set(column.name, cell);
      }
      head.append(cell);
    }
    this.body = make("div", "bgp-body");
    this.body.setAttribute("role", "rowgroup");
    this.empty = make("div", "bgp-empty");
    grid.append(head, this.body);
    frame.append(grid, this.empty);
    this.grid = grid;
    this.frame = frame;
    return frame;
  }

  buildDetail() {
    const detail = make("div", "bgp-detail");
    detail.setAttribute("role", "region");
    detail.hidden = true;
    const head = make("div", "bgp-detail-head");
    this.detailIcon = icon("waiting");
    this.detailName = make("span", "bgp-detail-name");
    this.detailState = make("span", "bgp-detail-state");
    this.detailActions = make("span", "bgp-detail-actions");
    this.detailButtons = new Map();
    for (const [verb, { label, icon: name }] of Object.entries(VERBS)) {
      const node = button(`bgp-button v-${verb}`, label, name, () => this.detailId() !== null && this.request(verb, [this.detailId()]));
      this.detailButtons.set(verb, node);
      this.detailActions.append(node);
    }
    const shut = button("bgp-action", "", "cross", () => this.select(null));
    shut.setAttribute("aria-label", "Close the detail");
    shut.title = "Close (Escape)";
    head.append(this.detailIcon, this.detailName, this.detailState, make("span", "bgp-space"), this.detailActions);
    this.detailActions.append(shut);
    this.tabs = make("div", "bgp-tabs");
    this.tabs.setAttribute("role", "tablist");
    this.tabs.setAttribute("aria-label", "Detail");
    this.tabNodes = new Map();
    for (const name of TABS) {
      const tab = button("bgp-tab", name[0].toUpperCase() + name.slice(1), null, () => {
        this.set("tab", name);
        this.changed("detail");
      });
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", `${this.uid}-pane`);
      tab.id = `${this.uid}-tab-${name}`;
      this.tabNodes.set(name, tab);
      this.tabs.append(tab);
    }
    this.pane = make("div", "bgp-pane");
    this.pane.id = `${this.uid}-pane`;
    this.pane.setAttribute("role", "tabpanel");
    this.pane.tabIndex = 0;
    this.notes = make("ul", "bgp-notes");
    detail.append(head, this.notes, this.tabs, this.pane);
    this.detailBox = detail;
    return detail;
  }

  // ------------------------------------------------------------------ events

  on(target, name, handler, options) {
    target.addEventListener(name, handler, options);
    this.undo.push(() => target.removeEventListener(name, handler, options));
  }

  onModel(name, handler) {
    this.model.on(name, handler);
    this.undo.push(() => this.model.off(name, handler));
  }

  listen() {
    // JupyterLab's command mode listens for plain keys above us: without this, x would cut the panel's own cell.
    this.on(this.root, "keydown", (event) => this.onKey(event));
    this.on(this.rate, "change", () => this.set("refresh", Number(this.rate.value)));
    this.on(this.filter, "input", () => this.onFilter());
    this.on(this.grid, "keydown", (event) => this.onGridKey(event));
    this.on(this.tabs, "keydown", (event) => this.onTabKey(event));
    this.on(this.grid, "scroll", () => this.changed("scroll"), { passive: true });
    this.on(this.body, "pointerenter", () => (this.hold = true));
    this.on(this.body, "pointerleave", () => {
      this.hold = false;
      this.changed("data");
    });
    this.on(document, "visibilitychange", () => this.onVisible());
    this.onModel("change:pattern", () => this.changed("all"));
    for (const name of ["status", "sort", "descending", "height", "refresh"]) this.onModel(`change:${name}`, () => this.changed("all"));
    for (const name of ["selected", "tab"]) this.onModel(`change:${name}`, () => this.changed("all"));
    const resize = new ResizeObserver(() => this.changed("size"));
    resize.observe(this.root);
    const seen = new IntersectionObserver((entries) => {
      this.visible = entries[entries.length - 1].isIntersecting;
      this.onVisible();
    });
    seen.observe(this.root);
    const clock = setInterval(() => !document.hidden && this.visible && this.changed("time"), 200);
    this.undo.push(() => resize.disconnect(), () => seen.disconnect(), () => clearInterval(clock));
  }

  close() {
    for (const undo of this.undo) undo();
    cancelAnimationFrame(this.frameRequest);
    clearTimeout(this.filterTimer);
    this.closed = true;
    this.store.detach(this);
    this.root.remove();
  }

  onVisible() {
    const seen = this.store.isSeen();
    if (seen === this.store.awake) return;
    const first = this.store.awake === undefined;
    this.store.awake = seen;
    if (!seen) this.store.sleep();
    else if (!first) this.store.wake();
    this.changed("all");
  }

  onFilter() {
    this.pattern = this.filter.value;
    this.hold = false;
    this.grid.scrollTop = 0;
    clearTimeout(this.filterTimer);
    this.filterTimer = setTimeout(() => {
      this.set("pattern", this.pattern);
      this.pattern = null;
    }, 200);
    this.changed("all");
  }

  onKey(event) {
    const accelerator = event.ctrlKey || event.metaKey;
    const passes = accelerator && (event.key === "s" || (event.shiftKey && event.key.toLowerCase() === "c"));
    if (!passes) event.stopPropagation();
    if (event.key === "/" && !accelerator && event.target !== this.filter) {
      event.preventDefault();
      this.filter.focus();
      this.filter.select();
    } else if (event.key === "Escape") {
      this.onEscape(event);
    } else if (event.target === this.filter && (event.key === "ArrowDown" || event.key === "Enter")) {
      event.preventDefault();
      this.grid.focus();
      if (this.active === null) this.moveTo(0);
    }
  }

  onEscape(event) {
    event.preventDefault();
    if (this.asking) this.answerAsk(false);
    else if (event.target === this.filter && this.filter.value) {
      this.filter.value = "";
      this.onFilter();
    } else if (event.target !== this.filter && this.detailId() !== null) this.select(null);
    else {
      const outside = this.root.parentElement?.closest("[tabindex]");
      document.activeElement?.blur();
      outside?.focus({ preventScroll: true });
    }
  }

  onGridKey(event) {
    if (event.target !== this.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.shown.indexOf(this.active);
    const page = Math.max(1, Math.floor((this.grid.clientHeight - ROW_HEIGHT) / ROW_HEIGHT) - 1);
    const last = this.shown.length - 1;
    const moves = { ArrowDown: at + 1, ArrowUp: at < 0 ? last : at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: last };
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "ArrowUp" && at === 0 && this.activeHead === null) this.activeHead = this.seenHeads()[0];
    else if (event.key in moves) this.moveTo(this.activeHead !== null && event.key === "ArrowDown" ? 0 : Math.max(0, Math.min(last, moves[event.key])));
    else if (step && this.activeHead !== null) this.activeHead = stepIn(this.seenHeads(), this.activeHead, step);
    else if (step) this.activeAction = stepIn([-1, ...this.seenActions()], this.activeAction, step);
    else if (event.key === "Enter" || event.key === " ") this.press();
    else return;
    event.preventDefault();
    this.changed("scroll");
  }

  onTabKey(event) {
    const at = TABS.indexOf(this.get("tab"));
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1 + TABS.length, Home: 0, End: TABS.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const name = TABS[moves[event.key] % TABS.length];
    this.set("tab", name);
    this.tabNodes.get(name).focus();
    this.changed("detail");
  }

  /** The columns that can be sorted and are not left out for want of room. */
  seenHeads() {
    return [...this.heads].filter(([, cell]) => isSeen(cell)).map(([name]) => name);
  }

  /** The indexes of the buttons of a row that are not left out for want of room. */
  seenActions() {
    const slot = this.pool.find((each) => each.id === this.active && each.id !== null);
    return slot ? [...slot.actions.keys()].filter((index) => isSeen(slot.actions[index])) : [];
  }

  moveTo(index) {
    this.activeHead = null;
    if (!this.shown.length) return;
    this.active = this.shown[index];
    const top = index * ROW_HEIGHT;
    const room = this.grid.clientHeight - ROW_HEIGHT;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top + ROW_HEIGHT > this.grid.scrollTop + room) this.grid.scrollTop = top + ROW_HEIGHT - room;
  }

  press() {
    if (this.activeHead !== null) {
      this.sortBy(this.activeHead);
      return;
    }
    const row = this.store.rows.get(this.active);
    if (!row) return;
    if (this.activeAction < 0) this.select(this.detailId() === row.id ? null : row.id);
    else this.act(row, this.activeAction);
  }

  act(row, index) {
    const verb = [primaryVerb(row), "run", "stop", "remove"][index];
    if (VERBS[verb].can(row)) this.request(verb, [row.id]);
  }

  select(id) {
    this.set("selected", id);
    this.changed("all");
  }

  detailId() {
    const id = this.get("selected");
    return id === null || id === undefined ? null : id;
  }

  sortBy(name) {
    this.hold = false;
    if (this.get("sort") === name) this.set("descending", !this.get("descending"));
    else {
      this.set("descending", false);
      this.set("sort", name);
    }
    this.changed("all");
  }

  // ------------------------------------------------------------------ commands

  /** Act on exactly the rows that are shown and that the verb would change; the button said how many. */
  bulk(verb) {
    this.request(verb, this.targets(verb));
  }

  targets(verb) {
    return this.shown.filter((id) => {
      const row = this.store.rows.get(id);
      return row && VERBS[verb].can(row);
    });
  }

  request(verb, ids) {
    if (!ids.length) return;
    if (verb !== "remove" && ids.length <= ASK_ABOVE) {
      this.store.command(verb, ids);
      return;
    }
    const row = this.store.rows.get(ids[0]);
    const what = ids.length === 1 && row ? `“${row.label}”` : plural(ids.length, "worker");
    this.ask({ verb, ids }, verb === "remove" ? `Remove ${what}? A removed worker is stopped and leaves the pool.` : `${VERBS[verb].label}: ${what}?`);
  }

  poolVerb() {
    return this.store.head.suspended ? "resume" : "suspend";
  }

  /** Suspend or resume the pool. It is more than what is shown: to hold many workers is asked about first. */
  requestPool(verb) {
    const count = this.store.rows.size;
    if (verb === "resume" || count <= ASK_ABOVE) {
      this.store.command(verb, null);
      return;
    }
    this.ask({ verb, ids: null }, `Suspend the pool? No run of its ${plural(count, "worker")} begins before it is resumed.`);
  }

  ask(command, text) {
    this.asking = command;
    setText(this.askText, text);
    setText(this.askYes, describe(command));
    this.askBar.hidden = false;
    this.askYes.focus();
  }

  answerAsk(yes) {
    const asking = this.asking;
    this.asking = null;
    this.askBar.hidden = true;
    this.grid.focus({ preventScroll: true });
    if (yes && asking) this.store.command(asking.verb, asking.ids);
  }

  // ------------------------------------------------------------------ drawing

  changed(what) {
    if (this.closed) return;
    this.dirty.add(what);
    this.frameRequest ??= requestAnimationFrame(() => {
      this.frameRequest = undefined;
      if (!this.closed) this.draw();
    });
  }

  draw() {
    const focused = this.root.contains(document.activeElement) ? document.activeElement : null;
    this.drawDirty();
    if (focused && (focused.disabled || !isSeen(focused))) this.rescueFocus(focused);
  }

  /** Put the focus where it can stay when what had it is gone: on the page's body JupyterLab would take the next key for a command. */
  rescueFocus(lost) {
    const inDetail = this.detailBox.contains(lost) && !this.detailBox.hidden;
    const refuge = inDetail ? this.tabNodes.get(this.get("tab")) : isSeen(this.grid) ? this.grid : this.filter;
    refuge.focus({ preventScroll: true });
  }

  drawDirty() {
    const dirty = this.dirty;
    this.dirty = new Set();
    const all = dirty.has("all");
    if (all || dirty.has("size") || Date.now() - this.themed > 2000) this.drawSize();
    if (all || dirty.has("data")) this.arrange(all);
    if (all || dirty.has("data") || dirty.has("status")) {
      this.drawStatus();
      this.drawCounts();
    }
    this.drawRows();
    this.drawAlarm();
    if (all || dirty.has("detail") || dirty.has("data") || dirty.has("time")) this.drawDetail(all || dirty.has("detail"));
  }

  /** Say aloud who failed, at most once in some seconds: a worker that fails again and again is said once. */
  drawAlarm() {
    if (Date.now() - (this.alarmed ?? 0) < ALARM_PAUSE) return;
    const text = this.store.takeAlarms();
    if (text) this.alarmed = Date.now();
    setText(this.alarm, text); // emptied, so that the same words are news when they come again
  }

  drawSize() {
    const width = this.root.clientWidth;
    setAttribute(this.root, "data-width", width < 640 ? "narrow" : width < 900 ? "medium" : width < 1060 ? "compact" : "wide");
    this.themed = Date.now(); // the theme may change at any time, and nothing tells of it
    const dark = luminance(getComputedStyle(this.root).color) > 0.5;
    this.root.classList.toggle("bgp-dark", dark);
  }

  /** Decide which rows are shown, in which order. Under the pointer rows keep their places, nobody clicks on a moving row: new ones come last. */
  arrange(asked) {
    const pattern = this.pattern ?? this.get("pattern") ?? "";
    if (this.pattern === null || this.pattern === undefined) {
      if (this.filter.value !== pattern) this.filter.value = pattern;
    }
    const rows = this.store.rows;
    if (pattern !== this.matched) {
      const matches = pattern === "" ? () => true : compileGlob(pattern);
      for (const row of rows.values()) row.match = matches(row.name);
      this.matched = pattern;
      this.matches = matches;
    }
    this.counts = Object.fromEntries(STATUSES.map((name) => [name, 0]));
    this.matching = 0;
    this.marked = 0;
    for (const row of rows.values()) {
      row.match ??= this.matches(row.name);
      if (row.match) {
        this.matching++;
        if (isMarked(row)) this.marked++;
        this.counts[row.status] = (this.counts[row.status] ?? 0) + 1;
      }
    }
    const status = this.get("status") ?? "all";
    const fits = (row) => row.match && (status === "all" || isIn(row, status));
    if (this.hold && !asked) {
      const kept = new Set(this.shown.filter((id) => rows.has(id)));
      for (const row of rows.values()) if (fits(row)) kept.add(row.id);
      this.shown = [...kept];
      return;
    }
    const list = [];
    for (const row of this.inOrder()) if (fits(row)) list.push(row);
    const column = this.sortColumn();
    const sign = this.get("descending") ? -1 : 1;
    if (column.key) {
      const keys = new Map(list.map((row) => [row.id, column.key(row)]));
      list.sort((a, b) => sign * compare(keys.get(a.id), keys.get(b.id)) || a.id - b.id);
    } else if (sign < 0) list.reverse();
    this.shown = list.map((row) => row.id);
  }

  sortColumn() {
    return COLUMNS.find((each) => each.name === this.get("sort") && !each.fixed) ?? COLUMNS[0];
  }

  /** All rows, in the order of their texts if the table is sorted by a text: that order lasts until workers come or go. */
  *inOrder() {
    const { rows, members } = this.store;
    const column = this.sortColumn();
    if (column.key) {
      yield* rows.values();
      return;
    }
    if (this.order?.members !== members || this.order.column !== column) {
      const text = column.name === "name" ? (row) => row.name : (row) => row.schedule;
      const list = [...rows.values()].sort((a, b) => collator.compare(text(a), text(b)) || a.id - b.id);
      this.order = { members, column, ids: list.map((row) => row.id) };
    }
    for (const id of this.order.ids) yield rows.get(id);
  }

  drawCounts() {
    const status = this.get("status") ?? "all";
    for (const [name, { chip, count }] of this.chipNodes) {
      const number = name === "all" ? this.matching : name === "marked" ? this.marked : countOf(this.counts, name);
      if (name === "marked") chip.hidden = !number && status !== name; // rare: it has a place when it is needed
      setText(count, number.toLocaleString("en"));
      chip.classList.toggle("is-none", number === 0);
      setAttribute(chip, "aria-pressed", status === name);
    }
    const targets = Object.fromEntries(Object.keys(VERBS).map((verb) => [verb, 0]));
    for (const id of this.shown) {
      const row = this.store.rows.get(id);
      if (row) for (const verb in VERBS) if (VERBS[verb].can(row)) targets[verb]++;
    }
    for (const [verb, { node, label }] of this.bulkNodes) {
      const number = targets[verb];
      setText(label, number ? `${VERBS[verb].label} ${number.toLocaleString("en")}` : VERBS[verb].label);
      node.disabled = !number || this.store.connection === "restarted" || this.store.head.closed;
      setAttribute(node, "aria-label", `${VERBS[verb].label} ${plural(number, "worker")} shown`); // begins as what is seen
    }
    const total = this.store.rows.size;
    const shown = this.shown.length;
    setText(this.shownText, shown === total ? plural(total, "worker") : `${shown.toLocaleString("en")} of ${plural(total, "worker")}`);
    const { running, paused } = this.store.head;
    setText(this.threadsText, `${running} busy / ${paused} idle`);
    const cells = Math.min(12, running + paused);
    while (this.meter.childElementCount > cells) this.meter.lastChild.remove();
    while (this.meter.childElementCount < cells) this.meter.append(make("i"));
    const busy = running + paused ? Math.ceil((cells * running) / (running + paused)) : 0;
    [...this.meter.children].forEach((bar, index) => bar.classList.toggle("is-busy", index < busy));
    setText(this.poolName, this.store.head.pool === "default" ? "" : cleanText(this.store.head.pool));
    for (const [name, cell] of this.heads) {
      const sorted = name === this.get("sort");
      setAttribute(cell, "aria-sort", sorted ? (this.get("descending") ? "descending" : "ascending") : "none");
    }
    this.drawEmpty();
  }

  drawEmpty() {
    const store = this.store;
    const kind = this.shown.length ? "" : !store.fields ? "waiting" : store.rows.size ? "nomatch" : "empty";
    const signature = `${kind} ${store.connection} ${this.matched} ${this.get("status")} ${store.head.closed}`;
    if (signature === this.emptySignature) return;
    this.emptySignature = signature;
    this.frame.classList.toggle("is-empty", kind !== "");
    this.empty.replaceChildren();
    if (kind === "waiting") this.empty.append(make("p", "bgp-empty-title", "Waiting for the kernel …"));
    else if (kind === "nomatch") this.fillNoMatch();
    else if (kind === "empty") this.fillEmpty();
  }

  fillEmpty() {
    if (this.store.head.closed) {
      this.empty.append(make("p", "bgp-empty-title", "This pool is closed"), make("p", "", "Its workers have ended. A panel of the new pool: %bgpool panel"));
      return;
    }
    const code = make("pre", "bgp-code", "%%bgworker 5s --name hello\nimport time\nprint(time.strftime('%H:%M:%S'), 'hello')");
    this.empty.append(
      make("p", "bgp-empty-title", "No workers yet"),
      make("p", "", "Run this in a cell, and the first one appears here:"),
      code,
    );
  }

  fillNoMatch() {
    const pattern = this.matched;
    const status = this.get("status") ?? "all";
    const what = [status !== "all" && status, "worker", pattern && `named “${pattern}”`].filter(Boolean).join(" ");
    this.empty.append(make("p", "bgp-empty-title", `No ${what}`));
    const row = make("p", "bgp-empty-actions");
    if (pattern && !/[*?[]/.test(pattern)) {
      row.append(button("bgp-button", `Try *${pattern}*`, null, () => {
        this.filter.value = `*${pattern}*`;
        this.onFilter();
      }));
    }
    row.append(button("bgp-button", "Show all", null, () => {
      this.filter.value = "";
      this.onFilter();
      this.set("status", "all");
      this.changed("all");
    }));
    this.empty.append(row);
  }

  /** Say what is true about the connection, and what became of the last command. */
  drawStatus() {
    const store = this.store;
    if (this.root.closest(".jupyter-widgets-disconnected, .jp-widgets-disconnected")) store.disconnected();
    const [kind, text] = this.connection();
    setAttribute(this.status, "data-kind", kind);
    setText(this.statusText, text);
    this.drawHold();
    const rate = String(this.get("refresh") ?? 4);
    if (this.rate.value !== rate) this.rate.value = rate;
    this.root.classList.toggle("is-dead", kind === "dead" || kind === "closed");
    const late = [...store.pending.values()].filter((command) => command.late);
    let message = "";
    let tone = "";
    if (late.length) {
      message = `kernel busy: ${late.map(describe).join(", ")} queued`;
      tone = "late";
    } else if (store.pending.size) {
      message = [...store.pending.values()].map((command) => `${wordsOf(command).doing} …`).join(" ");
      tone = "pending";
    } else if (store.notice) {
      message = store.notice.text;
      tone = store.notice.ok ? "ok" : "error";
    }
    setText(this.message, message);
    this.message.title = message;
    setAttribute(this.message, "data-tone", tone);
  }

  drawHold() {
    const { store, holdNode } = this;
    const verb = this.poolVerb();
    const { label, name, icon: shape, hint } = POOL_VERBS[verb];
    setAttribute(holdNode, "data-verb", verb);
    setIcon(holdNode.querySelector("svg"), shape);
    setText(holdNode.querySelector(".bgp-label"), label);
    setAttribute(holdNode, "aria-label", name); // begins as what is seen
    setAttribute(holdNode, "title", hint);
    holdNode.disabled = !store.fields || store.connection === "restarted" || store.head.closed;
  }

  connection() {
    const { connection, head } = this.store;
    if (connection === "restarted") return ["dead", "kernel restarted: run the cell again"];
    if (head.closed) return ["closed", "pool closed"];
    if (connection === "resync") return ["resync", "catching up …"];
    if (connection === "waiting") return ["waiting", this.store.fields ? "saved picture, waiting for the kernel" : "waiting for the kernel"];
    const silent = Date.now() - (this.store.heard ?? 0);
    if (this.store.kept && Date.now() - this.store.kept > 5000 && silent > 30_000) {
      return ["resync", `kernel busy, no news for ${formatSpan(silent / 1000)}`];
    }
    if (this.store.frozen !== null) return ["held", `as it was at ${formatClock(this.store.frozen)}`];
    if (head.suspended) return ["held", "pool suspended"];
    return ["live", "live"];
  }

  drawRows() {
    const grid = this.grid;
    const total = this.shown.length;
    const tall = Math.max(4 * ROW_HEIGHT, Number(this.get("height")) || 360);
    const height = `${Math.min(tall, (total + 1) * ROW_HEIGHT + 2)}px`;
    if (grid.style.height !== height) grid.style.height = height;
    const bodyHeight = `${total * ROW_HEIGHT}px`;
    if (this.body.style.height !== bodyHeight) this.body.style.height = bodyHeight;
    setAttribute(grid, "aria-rowcount", total + 1);
    const top = grid.scrollTop;
    const first = Math.max(0, Math.floor(top / ROW_HEIGHT) - OVERSCAN);
    const room = Math.ceil((Math.min(tall, (total + 1) * ROW_HEIGHT)) / ROW_HEIGHT) + 2 * OVERSCAN;
    const last = Math.min(total, first + room);
    this.store.show(this, ["wide", "compact"].includes(this.root.dataset.width) ? this.shown.slice(first, last) : []);
    const now = this.store.now();
    // A row keeps its element while it stays in the window: index modulo the pool's size.
    while (this.pool.length < Math.min(room, total)) this.pool.push(this.buildRow(this.pool.length));
    while (this.pool.length > room) this.pool.pop().node.remove();
    const size = this.pool.length;
    const used = new Set();
    for (let index = first; index < last && size; index++) {
      const slot = this.pool[index % size];
      used.add(slot);
      this.paintRow(slot, index, now);
    }
    for (const slot of this.pool) {
      if (used.has(slot)) continue;
      slot.node.hidden = true;
      slot.id = null;
    }
    for (const [name, cell] of this.heads) cell.classList.toggle("is-active", name === this.activeHead);
    setAttribute(grid, "aria-activedescendant", this.activeId());
  }

  /** The id of what the arrow keys are on: the title of a column, a row, or a button in it; null for nothing. */
  activeId() {
    if (this.activeHead !== null) return this.heads.get(this.activeHead).id;
    const slot = this.pool.find((each) => each.id === this.active && each.id !== null);
    if (!slot) return null;
    return this.activeAction < 0 ? slot.node.id : slot.actions[this.activeAction].id;
  }

  buildRow(number) {
    const node = make("div", "bgp-row");
    node.setAttribute("role", "row");
    node.id = `${this.uid}-${number}`;
    const slot = { node, id: null, cells: {}, actions: [] };
    COLUMNS.forEach((column, index) => {
      const cell = make("div", `bgp-cell c-${column.name}`);
      cell.setAttribute("role", "gridcell");
      cell.setAttribute("aria-colindex", index + 1);
      slot.cells[column.name] = cell;
      node.append(cell);
    });
    slot.icon = icon("waiting");
    slot.word = make("span", "bgp-word");
    slot.age = make("span", "bgp-age");
    slot.marks = make("span", "bgp-marks");
    slot.bar = buildBar();
    slot.cells.state.append(slot.icon, slot.word, slot.age, slot.marks, slot.bar);
    slot.count = make("span");
    slot.bad = make("span", "bgp-bad");
    slot.cells.runs.append(slot.count, slot.bad);
    slot.trend = buildTrend();
    slot.cells.trend.append(slot.trend);
    for (let index = 0; index < ACTIONS; index++) {
      const action = button("bgp-action", "", "play", (event) => {
        event.stopPropagation();
        const row = this.store.rows.get(slot.id);
        this.active = slot.id;
        if (row) this.act(row, index);
      });
      action.id = `${node.id}-${index}`;
      action.tabIndex = -1;
      slot.actions.push(action);
      slot.cells.actions.append(action);
    }
    node.addEventListener("click", () => {
      this.active = slot.id;
      this.activeAction = -1;
      this.activeHead = null;
      this.grid.focus({ preventScroll: true });
      this.select(this.detailId() === slot.id ? null : slot.id);
    });
    this.body.append(node);
    return slot;
  }

  paintRow(slot, index, now) {
    const row = this.store.rows.get(this.shown[index]);
    if (!row) {
      slot.node.hidden = true;
      return;
    }
    const { node, cells } = slot;
    slot.id = row.id;
    node.hidden = false;
    const move = `translateY(${index * ROW_HEIGHT}px)`;
    if (node.style.transform !== move) node.style.transform = move;
    setAttribute(node, "aria-rowindex", index + 2);
    setAttribute(node, "aria-selected", row.id === this.detailId());
    node.classList.toggle("is-odd", index % 2 === 1);
    node.classList.toggle("is-active", row.id === this.active && this.activeHead === null);
    node.classList.toggle("is-trouble", isInTrouble(row));
    const status = STATUSES.includes(row.status) ? row.status : "new";
    setAttribute(node, "data-status", status);
    if (slot.row !== row) this.paintValues(slot, row, status);
    const pending = this.store.isPending(row.id);
    node.classList.toggle("is-pending", Boolean(pending));
    const [word, age] = stateWords(row, now, pending);
    setText(slot.word, word);
    const { width } = this.root.dataset;
    const brief = age.replace("(running ", "(");
    const wide = row.status === "stopping" ? brief : age; // leaves room for the mark that says why it does not stop
    setText(slot.age, width === "wide" ? wide : (!pending && row.status === "running" && shareText(row)) || brief);
    const said = row.progress?.[1];
    slot.cells.state.title = [age ? `${word} ${age}` : word, said].filter(Boolean).join(" · ");
    const next = nextText(row, now, this.store.head.suspended);
    setText(cells.next, width === "narrow" ? next.replace(/ (min|h|d) .*/, " $1") : next);
    const ghost = this.store.connection === "restarted" || this.store.head.closed;
    slot.actions.forEach((action, at) => {
      const verb = [primaryVerb(row), "run", "stop", "remove"][at];
      setAttribute(action, "aria-disabled", ghost || !VERBS[verb].can(row));
      action.classList.toggle("is-active", row.id === this.active && this.activeHead === null && this.activeAction === at);
    });
    this.paintTrend(slot, row);
  }

  paintValues(slot, row, status) {
    const { cells } = slot;
    slot.row = row;
    setText(cells.name, row.label);
    cells.name.title = row.label;
    setText(cells.schedule, row.schedule);
    cells.schedule.title = row.schedule;
    setIcon(slot.icon, status);
    paintMarks(slot.marks, row);
    paintBar(slot.bar, row);
    cells.state.classList.toggle("has-bar", Boolean(row.progress));
    setText(slot.count, row.run_count.toLocaleString("en"));
    setText(slot.bad, row.failure_count ? `${row.failure_count.toLocaleString("en")} ✕` : "");
    cells.runs.title = [plural(row.run_count, "run"), row.failure_count && `${row.failure_count} failed`, row.missed_count && `${row.missed_count} missed`].filter(Boolean).join(", ");
    setAttribute(cells.runs, "aria-label", cells.runs.title);
    setAttribute(slot.node, "aria-label", [row.label, row.status, row.last_error].filter(Boolean).join(", ")); // what is read at an arrow key
    setText(cells.last, formatDuration(row.last_duration));
    setText(cells.error, row.last_error);
    cells.error.classList.toggle("is-reason", !hasFailed(row));
    cells.error.title = row.last_error;
    cells.next.title = row.next_run === null ? "" : formatInstant(row.next_run);
    [primaryVerb(row), "run", "stop", "remove"].forEach((verb, at) => {
      setIcon(slot.actions[at].firstChild, VERBS[verb].icon);
      slot.actions[at].title = VERBS[verb].label;
      setAttribute(slot.actions[at], "aria-label", `${VERBS[verb].label} ${row.label}`);
      setAttribute(slot.actions[at], "data-verb", verb);
    });
  }

  paintTrend(slot, row) {
    const trend = this.store.trends.get(row.id) ?? null;
    if (slot.drawn === trend && slot.drawnFor === row.id) return;
    slot.drawn = trend;
    slot.drawnFor = row.id;
    drawTrend(slot.trend, trend ?? []);
  }

  // ------------------------------------------------------------------ detail

  drawDetail(asked) {
    const id = this.detailId();
    const row = id === null ? null : this.store.rows.get(id);
    this.store.look(row ? id : null);
    this.detailBox.hidden = !row;
    if (!row) {
      this.store.watchStack(null);
      return;
    }
    const now = this.store.now();
    const status = STATUSES.includes(row.status) ? row.status : "new";
    setAttribute(this.detailBox, "data-status", status);
    setIcon(this.detailIcon, status);
    setText(this.detailName, row.label);
    setAttribute(this.detailBox, "aria-label", `Detail of ${row.label}`);
    const [word, age] = stateWords(row, now, this.store.isPending(row.id));
    const made = row.cell === null ? "" : ` · made in cell In[${row.cell}]`;
    setText(this.detailState, `${word}${age ? ` ${age}` : ""}${row.schedule ? ` · ${row.schedule}` : ""}${made}`);
    for (const [verb, node] of this.detailButtons) {
      node.hidden = !VERBS[verb].can(row) || this.store.head.closed;
      node.disabled = this.store.connection === "restarted";
    }
    const tab = this.tabNodes.has(this.get("tab")) ? this.get("tab") : "output";
    this.store.watchStack(tab === "stack" ? id : null);
    setAttribute(this.pane, "aria-labelledby", this.tabNodes.get(tab).id);
    for (const [name, node] of this.tabNodes) {
      setAttribute(node, "aria-selected", name === tab);
      node.tabIndex = name === tab ? 0 : -1;
    }
    this.tabNodes.get("error").classList.toggle("has-error", Boolean(row.last_error) && hasFailed(row));
    if (asked || this.paneLate) this.fillPane(tab, row);
    this.drawNotes(row, tab);
    for (const node of this.pane.querySelectorAll("[data-since]")) setText(node, `running ${formatSpan(Math.max(0, now - Number(node.dataset.since)))}`);
  }

  /** Say above the tabs how far the run has come, what looks wrong, and what comes after a failure. */
  drawNotes(row, tab) {
    const remarks = this.store.remarks?.worker === row.id ? this.store.remarks : null;
    const outlook = remarks?.outlook ?? "";
    const notes = [];
    if (row.progress) notes.push(["progress", row.progress[1]]);
    const lints = row.lints?.length ? (remarks?.lints.map(([, text]) => text) ?? [marksOf(row).lints]) : [];
    for (const text of lints) notes.push(["warn", text]);
    if (row.orphan) notes.push(["orphan", marksOf(row).orphan]);
    const paused = row.status === "paused" && row.last_error;
    if (paused && !hasFailed(row)) notes.push(["paused", row.last_error]);
    else if ((paused || row.status === "failed") && tab !== "error") notes.push(["failed", outlook && outlook !== row.last_error ? `${row.last_error} · ${outlook}` : row.last_error]);
    const key = JSON.stringify(notes);
    if (key !== this.notesKey) {
      this.notesKey = key;
      const barAt = this.notes.querySelector(".bgp-bar");
      this.notes.replaceChildren(...notes.map((note) => this.noteOf(note, barAt)));
    }
    const bar = this.notes.querySelector(".bgp-bar");
    if (bar) paintBar(bar, row);
    for (const node of this.pane.querySelectorAll("[data-outlook]")) setText(node, outlook);
  }

  noteOf([kind, text], bar) {
    const note = make("li", `bgp-note n-${kind}`);
    if (kind === "progress") note.append(bar ?? buildBar(), make("span", "bgp-note-text", text));
    else note.append(icon(kind), make("span", "bgp-note-text", text));
    if (kind === "failed") {
      note.append(button("bgp-link", "Show the error", null, () => {
        this.set("tab", "error");
        this.changed("detail");
        this.tabNodes.get("error").focus();
      }));
    }
    return note;
  }

  detailOf(id) {
    return this.store.detail?.worker === id ? this.store.detail : null;
  }

  fillPane(tab, row) {
    const detail = this.detailOf(row.id);
    const stack = tab === "stack" && this.store.stack?.worker === row.id ? this.store.stack : null;
    const more = tab === "stack" ? stack?.version ?? null : tab === "error" ? cardVerbs(row) : null;
    const key = JSON.stringify([tab, row.id, detail?.version ?? null, more]);
    this.paneLate = false;
    if (key === this.paneKey) return;
    const same = this.paneKey?.startsWith(JSON.stringify([tab, row.id]).slice(0, -1));
    if (same && this.isReading()) {
      this.paneLate = true;
      return;
    }
    this.paneKey = key;
    const top = same ? this.pane.scrollTop : 0;
    const printed = same ? this.pane.querySelector(".bgp-printed")?.scrollTop ?? 0 : 0;
    const verb = same && this.pane.contains(document.activeElement) ? document.activeElement.dataset.verb : undefined;
    const waits = tab === "stack" ? !stack : !detail;
    const parts = waits ? [make("p", "bgp-hint", "Waiting for the kernel …")] : this.paneParts(tab, detail, row, stack);
    this.pane.replaceChildren(...parts);
    this.pane.scrollTop = top;
    if (printed) this.pane.querySelector(".bgp-printed")?.scrollTo(0, printed);
    if (verb) [...this.pane.querySelectorAll("[data-verb]")].find((node) => node.dataset.verb === verb)?.focus({ preventScroll: true });
  }

  /** Tell whether text of the pane is selected: it is not replaced until somebody has copied it. */
  isReading() {
    const selection = getSelection();
    return Boolean(selection && !selection.isCollapsed && this.pane.contains(selection.anchorNode));
  }

  paneParts(tab, detail, row, stack) {
    if (tab === "error") return detail.error ? [this.errorCard(detail, row)] : [make("p", "bgp-hint", "No run of this start has failed.")];
    if (tab === "stack") return stackParts(stack);
    if (tab === "source") {
      return detail.source ? [make("pre", "bgp-source", detail.source)] : [make("p", "bgp-hint", "Made from Python: the source is not known.")];
    }
    if (tab === "runs") return detail.runs.length || detail.current ? [runTable(detail)] : [make("p", "bgp-hint", "Not run yet.")];
    const runs = [...(detail.current ? [detail.current] : []), ...detail.runs];
    const loud = runs.filter((run) => run.text || run.images?.length || run === detail.current);
    const parts = detail.events ? [eventsOf(detail.events)] : [];
    if (loud.length) parts.push(...loud.map(outputOf));
    else parts.push(make("p", "bgp-hint", detail.captures ? "The latest runs printed nothing." : "Output is not captured in this pool."));
    if (detail.cut) parts.push(make("p", "bgp-hint", "Older output is not shown. All of it: %bgpool log NAME"));
    return parts;
  }

  /** Show the last run that failed: which one, the error with the cell's lines, what it printed, what comes next, what can be done. */
  errorCard(detail, row) {
    const error = detail.error;
    const box = make("section", `bgp-card${error.recovered ? " is-over" : ""}`);
    box.setAttribute("aria-label", "Last error");
    const head = make("div", "bgp-card-head");
    head.append(make("p", "bgp-error-line", error.line));
    const actions = make("span", "bgp-card-actions");
    for (const verb of this.store.head.closed ? [] : cardVerbs(row)) {
      const node = button(`bgp-button v-${verb}`, VERBS[verb].label, VERBS[verb].icon, () => this.request(verb, [row.id]));
      node.dataset.verb = verb;
      actions.append(node);
    }
    head.append(actions);
    const facts = make("p", "bgp-facts");
    const which = error.number === null ? "an earlier run failed" : `${runLabel(error)} failed at ${formatWhen(error.started)}`;
    const next = make("span", "bgp-next");
    next.dataset.outlook = "";
    facts.append(make("b", "", which), make("span", "", error.recovered ? "; a later one did not" : ""), next);
    box.append(head, facts);
    if (error.output) {
      const printed = make("div", "bgp-printed");
      printed.append(make("pre", "bgp-text", error.output));
      box.append(make("p", "bgp-card-title", "What it printed before"), printed);
    }
    box.append(traceOf(error.traceback));
    return box;
  }
}

/** The buttons of the error card: what goes on with the worker, or tries again at once. */
function cardVerbs(row) {
  return ["resume", "start", "run"].filter((verb) => VERBS[verb].can(row));
}

function isIn(row, status) {
  if (status === "marked") return isMarked(row);
  return row.status === status || (status === "stopped" && row.status === "new") || (status === "running" && row.status === "stopping");
}

function countOf(counts, name) {
  if (name === "stopped") return counts.stopped + counts.new;
  if (name === "running") return counts.running + counts.stopping;
  return counts[name] ?? 0;
}

/** Return the neighbour of a value in a list, or the one at the end. */
function stepIn(list, value, step) {
  const at = Math.max(0, list.indexOf(value)) + step;
  return list[Math.max(0, Math.min(list.length - 1, at))];
}

/** Tell whether an element takes any room on the page. */
function isSeen(node) {
  return node.isConnected && node.getClientRects().length > 0;
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function describe(command) {
  if (command.ids === null) return POOL_VERBS[command.verb].name;
  return command.ids.length === 1 ? VERBS[command.verb].label : `${VERBS[command.verb].label} ${command.ids.length.toLocaleString("en")}`;
}

/** Return the word of a row's state and what stands behind it. A run that has gone on for a second says so. */
export function stateWords(row, now, pending = null) {
  const age = row.since === null || row.since === undefined ? null : Math.max(0, now - row.since);
  if (row.status === "stopping") return ["stopping …", age === null ? "" : `(running ${formatSpan(age)})`];
  if (pending) return [row.status, `· ${VERBS[pending.verb].label.toLowerCase()} ${pending.late ? "queued" : "sent"}`];
  const old = age !== null && age >= 1;
  if (row.status === "running") return ["running", [shareText(row), old && formatSpan(age)].filter(Boolean).join(" · ")];
  return old ? [row.status, `(running ${formatSpan(age)})`] : [row.status, ""];
}

/** Return how much of a run is done, in percent; "" where it does not say. */
export function shareText(row) {
  const share = row.progress?.[0];
  return typeof share === "number" ? `${(share * 100).toFixed(0)} %` : "";
}

/** Return when the next run is due. What is due in a suspended pool is not about to begin. */
export function nextText(row, now, suspended = false) {
  if (row.next_run === null || row.next_run === undefined || row.status === "paused" || !row.running) return "–";
  const left = row.next_run - now;
  if (left < 0.1 && row.status === "running") return "–";
  return suspended && left < 0.1 ? "held" : formatCountdown(left);
}

function luminance(color) {
  const [r, g, b] = (color.match(/[\d.]+/g) ?? [0, 0, 0]).map(Number);
  return (0.299 * r + 0.587 * g + 0.114 * b) / 255;
}

// ---------------------------------------------------------------------------------- trend and output

const BARS = 32;
const BAR = 3; // px from bar to bar
const TREND_HEIGHT = 18;

function buildTrend() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${BARS * BAR} ${TREND_HEIGHT}`);
  svg.setAttribute("class", "bgp-trend");
  svg.setAttribute("role", "img");
  for (const name of ["good", "poor"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", `t-${name}`);
    svg.append(path);
  }
  return svg;
}

/** Draw the last runs, newest at the right: height is the duration against the longest one, a failed run hangs as a full red bar. */
function drawTrend(svg, runs) {
  const last = runs.slice(-BARS);
  const longest = Math.max(1e-9, ...last.map(([duration]) => duration));
  const paths = { good: "", poor: "" };
  last.forEach(([duration, failed], index) => {
    const x = (BARS - last.length + index) * BAR;
    const high = Math.max(2, Math.round(TREND_HEIGHT * Math.sqrt(duration / longest)));
    if (failed) paths.poor += `M${x} 0h2v${TREND_HEIGHT}h-2z`;
    else paths.good += `M${x} ${TREND_HEIGHT - high}h2v${high}h-2z`;
  });
  svg.querySelector(".t-good").setAttribute("d", paths.good);
  svg.querySelector(".t-poor").setAttribute("d", paths.poor);
  const failures = last.filter(([, failed]) => failed).length;
  svg.setAttribute("aria-label", last.length ? `last ${plural(last.length, "run")}, ${failures} failed, longest ${formatDuration(longest)}` : "no runs yet");
}

// ------------------------------------------------------------------------------- progress, marks, stack

function buildBar() {
  const bar = make("span", "bgp-bar");
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-valuemin", 0);
  bar.setAttribute("aria-valuemax", 100);
  bar.append(make("i"));
  return bar;
}

/** Draw how far a run says it has come. Where the total is not known the bar is striped. */
function paintBar(bar, row) {
  const said = row.progress ?? null;
  bar.hidden = said === null;
  if (said === null) return;
  const [share, words] = said;
  const known = typeof share === "number";
  bar.classList.toggle("is-open", !known);
  const width = known ? `${Math.max(0, Math.min(1, share)) * 100}%` : "100%";
  if (bar.firstChild.style.width !== width) bar.firstChild.style.width = width;
  bar.title = words;
  setAttribute(bar, "aria-valuenow", known ? Math.round(share * 100) : null);
  setAttribute(bar, "aria-valuetext", words);
  setAttribute(bar, "aria-label", `Progress of ${row.label}`);
}

function paintMarks(place, row) {
  const { lints, orphan } = marksOf(row);
  const key = `${lints}\n${orphan}`;
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren();
  for (const [name, text] of [["warn", lints], ["orphan", orphan]]) {
    if (!text) continue;
    const mark = make("span", `bgp-mark m-${name}`);
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", text);
    mark.title = text;
    mark.append(icon(name));
    place.append(mark);
  }
}

function stackParts(stack) {
  if (!stack.run) return [make("p", "bgp-hint", "No run is in flight.")];
  const head = runTitle(stack.run);
  head.append(make("span", "", `seen here since ${formatClock(stack.at)}; looked at once a second`));
  if (!stack.text) return [head, make("p", "bgp-hint", "The run is in no line of Python of its own.")];
  return [head, traceOf(stack.text)];
}

/** Show a traceback or a stack: the frames of cells stand out against those of files. */
function traceOf(text) {
  const box = make("pre", "bgp-trace");
  let kind = "";
  let piece = [];
  const flush = () => piece.length && box.append(make("span", kind, piece.join("\n") + "\n"));
  for (const [line, next] of traceLines(text)) {
    if (next !== kind) {
      flush();
      piece = [];
      kind = next;
    }
    piece.push(line);
  }
  flush();
  return box;
}

/** Return each line with its kind: "t-cell" and "t-code" for a frame of a cell and its source, "t-file" for a frame of a file. */
export function traceLines(text) {
  let frame = "";
  return text.replace(/\n$/, "").split("\n").map((line) => {
    if (/^  File "/.test(line)) frame = "t-file";
    else if (/^  \S.*, line \d+/.test(line)) frame = "t-cell";
    else if (!/^    /.test(line)) frame = "";
    else if (frame === "t-cell") return [line, "t-code"];
    return [line, frame];
  });
}

/** Tell whether a run went wrong: it raised, or took longer than its timeout. */
function isBad(outcome) {
  return outcome === "failed" || outcome === "overdue";
}

/** Return the number of a run for people: "run 3", "run 3, try 2". */
function runLabel(run) {
  const number = `run ${run.number.toLocaleString("en")}`;
  return run.attempt > 1 ? `${number}, try ${run.attempt}` : number;
}

function runTitle(run) {
  const head = make("div", "bgp-run-head");
  head.append(make("b", "", runLabel(run)), make("span", "", formatClock(run.started)));
  const how = make("span", `bgp-run-${isBad(run.outcome) ? "bad" : "ok"}`);
  if (run.outcome === "running") how.dataset.since = run.started;
  else how.textContent = `${run.outcome} in ${formatDuration(run.duration)}`;
  head.append(how);
  return head;
}

function outputOf(run) {
  const block = make("div", "bgp-run");
  block.append(runTitle(run));
  block.append(...printedBy(run, `run ${run.number}`));
  return block;
}

/** Return what was printed and displayed, as text and pictures. */
function printedBy({ text, images }, whose) {
  const parts = text ? [make("pre", "bgp-text", text)] : [];
  for (const data of images ?? []) {
    if (!/^[A-Za-z0-9+/=\s]*$/.test(data)) continue;
    const image = make("img", "bgp-image");
    image.alt = `picture of ${whose}`;
    image.src = `data:image/png;base64,${data}`;
    parts.push(image);
  }
  return parts;
}

/** Show what on_event printed, above the runs: it is of none of them. Its end is seen first, as their latest is. */
function eventsOf(events) {
  const block = make("section", "bgp-run bgp-events");
  block.setAttribute("aria-label", "What on_event printed");
  const head = make("div", "bgp-run-head");
  head.append(make("b", "", "on_event"), make("span", "", "what it printed"));
  const printed = make("div", "bgp-printed");
  const content = make("div");
  content.append(...printedBy(events, "on_event"));
  printed.append(content);
  block.append(head, printed);
  return block;
}

function runTable(detail) {
  const table = make("table", "bgp-runs");
  const head = make("tr");
  for (const title of ["Run", "Started", "Duration", "Outcome", "Value or error"]) head.append(make("th", "", title));
  const top = make("thead");
  top.append(head);
  const body = make("tbody");
  for (const run of [...(detail.current ? [detail.current] : []), ...detail.runs]) {
    const line = make("tr", isBad(run.outcome) ? "is-bad" : "");
    const duration = make("td", "", run.outcome === "running" ? "" : formatDuration(run.duration));
    if (run.outcome === "running") duration.dataset.since = run.started;
    line.append(make("td", "", runLabel(run).slice(4)), make("td", "", formatClock(run.started)), duration);
    line.append(make("td", "", isBad(run.outcome) ? `✕ ${run.outcome}` : run.outcome), make("td", "", run.note ?? ""));
    body.append(line);
  }
  table.append(top, body);
  return table;
}

// ------------------------------------------------------------------------------------------ anywidget

// A view is handed a proxy of its own for the model, and what it listens to there ends with the view. The store
// therefore lives on the model's own proxy, from initialize on, and views find it by the widget's name.
const stores = new Map();

function initialize({ model }) {
  const name = model.get("comm_name");
  const store = new Store(model);
  stores.set(name, store);
  return () => {
    stores.delete(name);
    store.close();
  };
}

function render({ model, el }) {
  const view = new View(stores.get(model.get("comm_name")), model, el);
  return () => view.close();
}

export default { initialize, render };

// Runs the tables of cases against panel.js (argument 1, a copy that ends in .mjs) and prints what is wrong as JSON.
import fs from "node:fs";

const panel = await import(process.argv[2]);
const globs = JSON.parse(fs.readFileSync(process.argv[3], "utf8"));
const durations = JSON.parse(fs.readFileSync(process.argv[4], "utf8"));
const spans = [[0, "0.0 s"], [3.21, "3.2 s"], [9.94, "9.9 s"], [9.96, "9 s"], [42.9, "42 s"], [60, "1 min"], [250, "4 min 10 s"], [7500, "2 h 5 min"], [90000, "1 d 1 h"]];
const countdowns = [[-5, "now"], [0, "now"], [0.05, "now"], [3.21, "in 3.2 s"], [250, "in 4 min 10 s"]];
const states = [
  [{ status: "waiting", since: null }, ["waiting", ""]],
  [{ status: "running", since: 99.5 }, ["running", ""]],
  [{ status: "running", since: 96.8 }, ["running", "3.2 s"]],
  [{ status: "stopping", since: 88 }, ["stopping …", "(running 12 s)"]],
  [{ status: "paused", since: 95 }, ["paused", "(running 5.0 s)"]],
  [{ status: "running", since: 99.5, progress: [0.3, "3/10"] }, ["running", "30 %"]],
  [{ status: "running", since: 96.8, progress: [0.3, "3/10"] }, ["running", "30 % · 3.2 s"]],
  [{ status: "running", since: 96.8, progress: [null, "37 files"] }, ["running", "3.2 s"]],
  [{ status: "paused", since: 95, progress: [1, "10/10"] }, ["paused", "(running 5.0 s)"]],
];
const dues = [
  [{ status: "waiting", running: 1, next_run: 103.2 }, false, "in 3.2 s"],
  [{ status: "waiting", running: 1, next_run: 103.2 }, true, "in 3.2 s"],
  [{ status: "waiting", running: 1, next_run: 99 }, false, "now"],
  [{ status: "waiting", running: 1, next_run: 99 }, true, "held"],
  [{ status: "failed", running: 1, next_run: 99 }, true, "held"],
  [{ status: "running", running: 1, next_run: 99 }, true, "–"],
  [{ status: "paused", running: 1, next_run: 99 }, true, "–"],
  [{ status: "stopped", running: 0, next_run: null }, true, "–"],
];
const marks = [
  [{}, { lints: "", orphan: "" }],
  [{ lints: [], orphan: "" }, { lints: "", orphan: "" }],
  [{ lints: ["overruns", "silent"], orphan: "" }, { lints: "Its runs take longer than its interval; No run has ended for five intervals", orphan: "" }],
  [{ lints: ["constructor"], orphan: "<b>" }, { lints: "constructor", orphan: "Orphan: <b>" }],
];
const failures = [
  [{ status: "waiting", last_error: "", failure_count: 3 }, false],
  [{ status: "failed", last_error: "ValueError: boom", failure_count: 1 }, true],
  [{ status: "paused", last_error: "paused after 3 failures in a row: ValueError: boom", failure_count: 3 }, true],
  [{ status: "paused", last_error: "loaded from jobs.py, has not run yet", failure_count: 0 }, false],
];
const troubles = [
  [{ status: "failed", last_error: "ValueError: boom", failure_count: 1 }, true],
  [{ status: "paused", last_error: "paused after 3 failures in a row: ValueError: boom", failure_count: 3 }, true],
  [{ status: "paused", last_error: "loaded from jobs.py, has not run yet", failure_count: 0 }, false],
  [{ status: "paused", last_error: "", failure_count: 3 }, false],
  [{ status: "running", last_error: "ValueError: boom", failure_count: 1 }, false],
];
const trace = [
  ["Traceback (most recent call last):", ""],
  ["  Cell In[1], line 2, in f", "t-cell"],
  ["    return json.loads(text)", "t-code"],
  ["           ^^^^^^^^^^^^^^^^", "t-code"],
  ['  File "/usr/lib/json.py", line 3, in loads', "t-file"],
  ["    raise ValueError", "t-file"],
  ["ValueError: <b>", ""],
  ["    of two lines", ""],
];
const wrong = [];
const check = (what, got, wanted) => JSON.stringify(got) === JSON.stringify(wanted) || wrong.push({ what, got, wanted });

for (const [name, pattern, matches] of globs) check(`${pattern} on ${name}`, panel.compileGlob(pattern)(name), matches);
for (const [seconds, text] of durations) check(`duration ${seconds}`, panel.formatDuration(seconds), text);
for (const [seconds, text] of spans) check(`span ${seconds}`, panel.formatSpan(seconds), text);
for (const [seconds, text] of countdowns) check(`countdown ${seconds}`, panel.formatCountdown(seconds), text);
for (const [row, words] of states) check(`state ${row.status}`, panel.stateWords(row, 100), words);

for (const [row, suspended, text] of dues) check(`due ${row.next_run}, ${row.status}, ${suspended}`, panel.nextText(row, 100, suspended), text);
for (const [row, words] of marks) check("marks", panel.marksOf(row), words);
for (const [row, failed] of failures) check(`failed: ${row.last_error}`, panel.hasFailed(row), failed);
for (const [row, wrong] of troubles) check(`trouble: ${row.status}, ${row.last_error}`, panel.isInTrouble(row), wrong);
check("trace", panel.traceLines(trace.map(([line]) => line).join("\n") + "\n"), trace);

const start = performance.now();
panel.compileGlob("*a".repeat(60) + "b")("a".repeat(400));
check("a hostile pattern takes less than a second", performance.now() - start < 1000, true);

// The store: messages in, picture out.
globalThis.document = { hidden: false };
const sent = [];
const model = { get: () => undefined, on() {}, off() {}, send: (content) => sent.push(content), widget_manager: {} };
const store = new panel.Store(model);
const encode = (object) => [new DataView(new TextEncoder().encode(JSON.stringify(object)).buffer)];
const fields = ["id", "name", "status"];
const base = { epoch: "e", now: Date.now() / 1000, head: { pool: "default", running: 0, paused: 0, closed: false } };
const snapshot = { ...base, seq: 4, fields, rows: [[1, "a", "waiting"], [2, "b", "paused"]] };
store.receive({ kind: "snapshot" }, encode(snapshot));
check("snapshot is live", [store.connection, [...store.rows.keys()]], ["live", [1, 2]]);
store.receive({ kind: "delta" }, encode({ ...base, seq: 5, gone: [2], rows: [[1, "a", "running"], [3, "c", "new"]] }));
check("delta", [store.seq, [...store.rows.values()].map((row) => row.status)], [5, ["running", "new"]]);
store.receive({ kind: "delta" }, encode({ ...base, seq: 7, gone: [], rows: [] }));
store.receive({ kind: "delta" }, encode({ ...base, seq: 9, gone: [], rows: [] }));
check("a gap asks once", [store.connection, sent.filter((message) => message.kind === "hello").length], ["resync", 1]);
store.receive({ kind: "snapshot" }, encode({ ...snapshot, seq: 9 }));
check("resynced", [store.connection, store.asked, [...store.rows.keys()]], ["live", 0, [1, 2]]);
store.receive({ kind: "delta" }, encode({ ...base, epoch: "other", seq: 10, gone: [1, 2], rows: [] }));
check("another epoch changes nothing and asks", [store.connection, store.rows.size, sent.filter((message) => message.kind === "hello").length], ["resync", 2, 2]);
store.receive({ kind: "snapshot" }, encode({ ...snapshot, seq: 0, now: Date.now() / 1000 - 3600 }));
check("clock difference", Math.abs(store.now() - (Date.now() / 1000 - 3600)) < 0.5, true);
store.command("stop", [1]);
const token = sent.at(-1).token;
check("command", [sent.at(-1), store.pending.size], [{ kind: "command", token, verb: "stop", ids: [1] }, 1]);
await new Promise((done) => setTimeout(done, 800));
check("a late answer is told", store.pending.get(token).late, true);
store.receive({ kind: "answer", token, ok: true, text: "Stopped 1" });
check("answer", [store.pending.size, store.notice], [0, { text: "Stopped 1", ok: true }]);
store.command("suspend", null);
const whole = sent.at(-1).token;
check("command to the pool", [sent.at(-1), store.isPending(1)], [{ kind: "pool", token: whole, verb: "suspend" }, null]);
store.receive({ kind: "answer", token: whole, ok: true, text: "Suspended the pool" });
check("and its answer", [store.pending.size, store.notice.text], [0, "Suspended the pool"]);
store.command("stop", []);
check("to no worker nothing is sent", [store.pending.size, sent.at(-1).token], [0, whole]);
store.look(1);
store.watchStack(null);
check("no stack is asked for unless it is looked at", sent.at(-1), { kind: "look", client: store.client, id: 1 });
store.watchStack(1);
store.watchStack(1);
check("stack", sent.slice(-2).map((message) => message.kind), ["look", "stack"]);
store.receive({ kind: "stack", worker: 1, run: null, text: "", at: 1 }, []);
store.receive({ kind: "remarks", worker: 1, outlook: "soon", lints: [] }, []);
check("stack and remarks", [store.stack.worker, store.stack.version, store.remarks.outlook], [1, 1, "soon"]);
store.setRate(0);
const held = store.now();
store.receive({ kind: "delta" }, encode({ ...base, seq: 1, now: held + 0.5, gone: [], rows: [[1, "a", "waiting"]] }));
check("a held picture has the time of its last message", store.now(), held + 0.5);
store.setRate(4);
check("and then goes on", Math.abs(store.now() - (Date.now() / 1000 - 3600)) < 1.5, true);
for (const junk of [null, 5, {}, { kind: "x" }, { kind: "answer" }]) store.receive(junk, []);
check("junk changes nothing", store.rows.size, 2);
store.disconnected();
const last = store.now();
store.setRate(10);
await new Promise((done) => setTimeout(done, 30));
check("a dead panel's clock stands still", store.now(), last);
store.command("stop", [1]);
store.command("resume", null);
check("a dead panel sends nothing", [store.connection, store.pending.size], ["restarted", 0]);
store.close();

// What is said aloud: who gets into trouble, once, and not what was there before.
const loud = new panel.Store(model);
const states_of = (...statuses) => statuses.map((status, at) => [at + 1, `w${at + 1}`, status, status === "waiting" ? "" : `E${at + 1}`, 1]);
const told = { ...base, fields: ["id", "name", "status", "last_error", "failure_count"] };
let seq = 0;
const next = (gone, ...statuses) => loud.receive({ kind: "delta" }, encode({ ...told, seq: ++seq, gone, rows: states_of(...statuses) }));
loud.receive({ kind: "snapshot" }, encode({ ...told, seq, rows: states_of("failed", "waiting") }));
check("what had failed before is no news", loud.takeAlarms(), "");
next([], "running", "running");
next([], "failed", "failed");
check("a failure is said", loud.takeAlarms(), "w2 failed: E2");
next([], "running", "running");
next([], "failed", "failed");
check("and not again while it goes on", loud.takeAlarms(), "");
next([], "waiting", "paused");
next([], "failed", "paused");
check("but after a run that did not", loud.takeAlarms(), "w1 failed: E1");
next([], "waiting", "waiting");
next([], "paused", "failed", "failed", "failed", "failed", "failed");
check("of many the first ones and the count", loud.takeAlarms(), "w1 is E1; w2 failed: E2; w3 failed: E3; 3 more workers failed");
check("each once", loud.takeAlarms(), "");
next([2], "paused");
check("who is gone is forgotten", [...loud.troubled], [1, 3, 4, 5, 6]);
loud.receive({ kind: "snapshot" }, encode({ ...told, seq, rows: states_of("paused", "failed") }));
check("a new picture tells what was missed", [loud.takeAlarms(), [...loud.troubled]], ["w2 failed: E2", [1, 2]]);
loud.close();
const late = new panel.Store(model);
late.receive({ kind: "snapshot" }, encode({ ...told, seq: 0, rows: states_of("failed", "failed", "failed", "failed", "failed") }));
check("nor are many that had", late.takeAlarms(), "");
late.close();

console.log(JSON.stringify(wrong));

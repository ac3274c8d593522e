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
];
const wrong = [];
const check = (what, got, wanted) => JSON.stringify(got) === JSON.stringify(wanted) || wrong.push({ what, got, wanted });

for (const [name, pattern, matches] of globs) check(`${pattern} on ${name}`, panel.compileGlob(pattern)(name), matches);
for (const [seconds, text] of durations) check(`duration ${seconds}`, panel.formatDuration(seconds), text);
for (const [seconds, text] of spans) check(`span ${seconds}`, panel.formatSpan(seconds), text);
for (const [seconds, text] of countdowns) check(`countdown ${seconds}`, panel.formatCountdown(seconds), text);
for (const [row, words] of states) check(`state ${row.status}`, panel.stateWords(row, 100), words);

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
for (const junk of [null, 5, {}, { kind: "x" }, { kind: "answer" }]) store.receive(junk, []);
check("junk changes nothing", store.rows.size, 2);
store.disconnected();
store.command("stop", [1]);
check("a dead panel sends nothing", [store.connection, store.pending.size], ["restarted", 0]);
store.close();

console.log(JSON.stringify(wrong));

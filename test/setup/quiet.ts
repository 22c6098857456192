/** Every request is logged in a line, which costs a run of thousands more than it tells; faults are still told. */
const log = console.log;
console.log = (...words: unknown[]) => {
  if (typeof words[0] !== "string" || !words[0].startsWith('{"level":"info"')) log(...words);
};

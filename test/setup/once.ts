type Runner = { import(id: string): Promise<unknown>; remembers?: true };

/** For each request and each call of an object the test runtime asks its host whether the Worker has changed. It has not. */
const runner = (globalThis as unknown as { __vitest_mocker__: { moduleRunner: Runner } }).__vitest_mocker__
  .moduleRunner;
if (!runner.remembers) {
  const load = runner.import.bind(runner);
  let worker: unknown;
  runner.import = async (id) => {
    if (!id.endsWith("/src/index.ts")) return load(id);
    worker ??= await load(id);
    return worker;
  };
  runner.remembers = true;
}

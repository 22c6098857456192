/** Cron triggers do not fire by themselves in local development: at once, for what is left over, and at each full minute. */
export function eachMinute(fire: () => Promise<unknown>): void {
  const go = async () => {
    await fire();
    setTimeout(go, 60_000 - (Date.now() % 60_000)).unref();
  };
  void go();
}

/** Has the Worker at this port do what the cron does; says why it did not, or null. */
export async function fireCron(port: number): Promise<string | null> {
  const url = `http://127.0.0.1:${port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`;
  const response = await fetch(url).catch(() => null);
  await response?.body?.cancel();
  return response?.ok ? null : `The cron trigger failed: ${response?.status ?? "no answer"}`;
}

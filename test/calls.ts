import { neonConfig } from "@neondatabase/serverless";

/** How often the Worker calls the database, its work in the background included: the fewest of several tries counts. */
export async function callsOf(act: () => Promise<unknown>, before: () => unknown = () => {}, most = 6) {
  let fewest = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < most; tries++) {
    await before();
    let calls = 0;
    // Counted here and not at the bridge, which serves the other files of the run too.
    neonConfig.fetchFunction = (url: string, init: RequestInit) => {
      calls++;
      return fetch(url, init);
    };
    await act();
    neonConfig.fetchFunction = undefined;
    fewest = Math.min(fewest, calls);
  }
  return fewest;
}

/** What the run's setup hands to every test file. */
declare module "vitest" {
  export interface ProvidedContext {
    /** Counts calls at GET /calls, and answers Neon's protocol at /sql. */
    bridgeUrl: string;
    receiverUrl: string;
    /** A mail server on this machine: where to say how it is to answer, and its ports. */
    mailServer: { control: string; starttls: number; tls: number };
    appDatabaseUrl: string;
    ownerDatabaseUrl: string;
    realPostgres: boolean;
    /** How many channels a broadcast of the heavy tests reaches: BROADCAST_TARGETS, or ten thousand. */
    broadcastTargets: number;
    /** A second database, for the one test that fills it; there only with the heavy tests. */
    largeDatabase: string | null;
    release: string;
  }
}

export {};

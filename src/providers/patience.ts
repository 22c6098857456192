/** For what is said quickly or not at all: a connection, a command, a notification. */
export const CALL_MS = 15_000;

/** Servers read a mail before they answer for it: RFC 5321 asks for minutes. Who is given up then has it, and gets it twice. */
export const ANSWER_MS = 90_000;

const BYTES_PER_MS = 200;

/** Milliseconds for a mail to go up and be answered for. */
export const patienceOf = (bytes: number): number => ANSWER_MS + bytes / BYTES_PER_MS;

/** All that a mail may take, from the connection to the answer behind its last byte. */
export const longestOf = (bytes: number): number => CALL_MS + patienceOf(bytes) + ANSWER_MS;

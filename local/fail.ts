type PlainFailure = Error & { plain: true };

/** A failure whose message is all that the person at the terminal needs. */
export const plain = (message: string): PlainFailure => Object.assign(new Error(message), { plain: true as const });

/** Anything but a plain failure is a defect and shows its stack. */
export function report(error: unknown): void {
  console.error((error as Partial<PlainFailure>).plain ? (error as Error).message : error);
}

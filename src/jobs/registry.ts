import type { JobStep } from "../lib/job";

export type JobOptions = {
  /** Tries in a row that get no further, after which the job has failed. */
  maxAttempts: number;
  /** What must not stop halfway cannot be cancelled. */
  cancellable: boolean;
};

const DEFAULTS: JobOptions = { maxAttempts: 5, cancellable: true };
const jobs = new Map<string, { run: JobStep; options: JobOptions }>();

/** Called by index.ts, which alone may know all features. */
export function registerJob(type: string, run: JobStep, options: Partial<JobOptions> = {}): void {
  jobs.set(type, { run, options: { ...DEFAULTS, ...options } });
}

export const jobTypes = (): string[] => [...jobs.keys()];
export const stepOf = (type: string): JobStep | undefined => jobs.get(type)?.run;
export const uncancellable = (): string[] => jobTypes().filter((type) => !jobs.get(type)!.options.cancellable);

export function optionsOf(type: string): JobOptions {
  const known = jobs.get(type);
  if (!known) throw new Error(`No job ${type} is registered.`);
  return known.options;
}

import type { Stack } from "./stack.ts";

export type Figure = { value: number; unit: string; budget: number; ok: boolean; note?: string };

/** `names` are the figures it yields; `measure` gets a running stack. */
export type Bench = { names: string[]; measure(stack: Stack): Promise<Record<string, Figure>> };

export const atMost = (value: number, budget: number, unit: string, note?: string): Figure =>
  figure(value, budget, unit, value <= budget, note);
export const atLeast = (value: number, budget: number, unit: string, note?: string): Figure =>
  figure(value, budget, unit, value >= budget, note);

const figure = (value: number, budget: number, unit: string, ok: boolean, note?: string): Figure => ({
  value: Math.round(value * 1000) / 1000,
  unit,
  budget,
  ok: ok && Number.isFinite(value),
  ...(note && { note }),
});

export type Range = { offset: number; length: number };

/**
 * One range of bytes (RFC 9110, 14). What is no such range, or several of them, asks for all; "none" cannot be answered.
 */
export function rangeOf(header: string | null, size: number): Range | "all" | "none" {
  const [, first, last] = /^\s*bytes=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return "all";
  if (first === "") {
    const length = Math.min(Number(last), size);
    return length === 0 ? "none" : { offset: size - length, length };
  }
  const offset = Number(first);
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== "" && Number(last) < offset) return "all";
  return offset >= size ? "none" : { offset, length: end - offset + 1 };
}

import type { Result } from "./wire.ts";

/** A JSON parameter as the text that PostgreSQL reads; types are left to the server. */
export function parameterText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return value;
  return Array.isArray(value) ? arrayText(value) : JSON.stringify(value);
}

function arrayText(elements: unknown[]): string {
  const texts = elements.map((element) => {
    if (element === null) return "NULL";
    if (Array.isArray(element)) return arrayText(element);
    return typeof element === "object" ? JSON.stringify(JSON.stringify(element)) : JSON.stringify(element);
  });
  return `{${texts.join(",")}}`;
}

const BOOL = 16;
const WHOLE = new Set([21, 23]);
const FLOAT = new Set([700, 701]);
const JSON_TYPES = new Set([114, 3802]);

/** Array types that come with PostgreSQL; those of the database are asked for. */
export type ArrayTypes = ReadonlyMap<number, number>;

/** One row as JSON text, for callers that did not ask for raw text. */
export function rowAsJson(row: Result["rows"][number], fields: Result["fields"], arrays: ArrayTypes, asArray: boolean) {
  const values = row.map((text, i) => (text === null ? "null" : valueAsJson(text, fields[i]!.dataTypeID, arrays)));
  if (asArray) return `[${values.join(",")}]`;
  return `{${values.map((value, i) => `${JSON.stringify(fields[i]!.name)}:${value}`).join(",")}}`;
}

function valueAsJson(text: string, type: number, arrays: ArrayTypes): string {
  const element = arrays.get(type);
  if (element !== undefined) return arrayAsJson(text, element, arrays);
  if (type === BOOL) return text === "t" ? "true" : "false";
  if (WHOLE.has(type)) return text;
  if (FLOAT.has(type)) return Number.isFinite(Number(text)) ? String(Number(text)) : JSON.stringify(text);
  return JSON_TYPES.has(type) ? text : JSON.stringify(text);
}

/** Reads {1,NULL,"a \"b\""} with any nesting; bounds as in [0:1]={…} have no place in JSON. */
function arrayAsJson(text: string, element: number, arrays: ArrayTypes): string {
  let at = text.startsWith("[") ? text.indexOf("=") + 1 : 0;
  const readList = (): string => {
    const items: string[] = [];
    at++;
    while (text[at] !== "}") {
      items.push(readItem());
      if (text[at] === ",") at++;
    }
    at++;
    return `[${items.join(",")}]`;
  };
  const readItem = (): string => {
    if (text[at] === "{") return readList();
    if (text[at] === '"') return valueAsJson(readQuoted(), element, arrays);
    const start = at;
    while (text[at] !== "," && text[at] !== "}") at++;
    const item = text.slice(start, at);
    return item === "NULL" ? "null" : valueAsJson(item, element, arrays);
  };
  const readQuoted = (): string => {
    let item = "";
    for (at++; text[at] !== '"'; at++) {
      if (text[at] === "\\") at++;
      item += text[at];
    }
    at++;
    return item;
  };
  return readList();
}

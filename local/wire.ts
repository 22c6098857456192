/** The few messages of PostgreSQL's wire protocol that a call needs, so that both backends speak it in as few writes as possible. */

export type Statement = { query: string; params: (string | null)[] };

export type Field = {
  name: string;
  dataTypeID: number;
  tableID: number;
  columnID: number;
  dataTypeSize: number;
  dataTypeModifier: number;
  format: "text";
};

/** Values are PostgreSQL's own text output. */
export type Result = { fields: Field[]; rows: (string | null)[][]; tag: string };

/** Error fields under the protocol's one-letter names: C is the code, M the message, and so on. */
export type ErrorFields = Partial<Record<string, string>>;

/** I: idle, T: in a transaction, E: in a failed one. */
export type Status = "I" | "T" | "E";

const int32 = (bytes: Buffer, at: number) => bytes.readInt32BE(at);

function message(type: string, body: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(body.length + 5);
  bytes.write(type, 0, "latin1");
  bytes.writeInt32BE(body.length + 4, 1);
  body.copy(bytes, 5);
  return bytes;
}

export const SYNC = message("S", Buffer.alloc(0));

/** The simple protocol: may hold several statements, answers with one Ready. */
export const simpleQuery = (text: string): Buffer => message("Q", Buffer.from(`${text}\0`));

/** Parse, bind, describe and execute of one statement, all types left to the server. */
export function extendedQuery({ query, params }: Statement): Buffer {
  const queryLength = Buffer.byteLength(query);
  let valuesLength = 0;
  const lengths = params.map((value) => {
    if (value === null) return -1;
    const length = Buffer.byteLength(value);
    valuesLength += length;
    return length;
  });
  const parseLength = 4 + 1 + queryLength + 1 + 2;
  const bindLength = 4 + 1 + 1 + 2 + 2 + 4 * params.length + valuesLength + 2;
  const bytes = Buffer.allocUnsafe(1 + parseLength + 1 + bindLength + 7 + 10);
  let at = bytes.write("P", 0, "latin1");
  at = bytes.writeInt32BE(parseLength, at);
  at = bytes.writeUInt8(0, at);
  at += bytes.write(query, at);
  at = bytes.writeUInt8(0, at);
  at = bytes.writeInt16BE(0, at);
  at += bytes.write("B", at, "latin1");
  at = bytes.writeInt32BE(bindLength, at);
  at = bytes.writeUInt16BE(0, at);
  at = bytes.writeUInt16BE(0, at);
  at = bytes.writeUInt16BE(params.length, at);
  for (let i = 0; i < params.length; i++) {
    at = bytes.writeInt32BE(lengths[i]!, at);
    if (lengths[i]! > 0) at += bytes.write(params[i]!, at);
  }
  at = bytes.writeUInt16BE(0, at);
  at += bytes.write("D\0\0\0\x06P\0", at, "latin1");
  bytes.write("E\0\0\0\x09\0\0\0\0\0", at, "latin1");
  return bytes;
}

export type Listener = {
  result(result: Result): void;
  error(fields: ErrorFields): void;
  ready(status: Status): void;
  /** Called with the size of each row as it arrives. */
  grew(bytes: number): void;
  /** COPY to or from the client, which no caller of ours can take part in. */
  copy(): void;
};

/** Returns a function that takes the server's bytes in any portions. */
export function createDecoder(listener: Listener): (chunk: Buffer) => void {
  let rest: Buffer | null = null;
  let fields: Field[] = [];
  let rows: Result["rows"] = [];

  const finish = (tag: string) => {
    const result = { fields, rows, tag };
    fields = [];
    rows = [];
    listener.result(result);
  };

  const read = (type: number, bytes: Buffer, from: number, to: number) => {
    switch (type) {
      case 0x44: // D
        rows.push(readRow(bytes, from));
        return listener.grew(to - from);
      case 0x54: // T
        fields = readFields(bytes, from);
        return;
      case 0x43: // C
        return finish(bytes.toString("utf8", from, to - 1));
      case 0x49: // I: an empty query
        return finish("");
      case 0x45: // E
        fields = [];
        rows = [];
        return listener.error(readError(bytes, from, to));
      case 0x5a: // Z
        return listener.ready(String.fromCharCode(bytes[from]!) as Status);
      case 0x47: // G, H, W: COPY in, out, both
      case 0x48:
      case 0x57:
        return listener.copy();
    }
  };

  return (chunk) => {
    const bytes = rest ? Buffer.concat([rest, chunk]) : chunk;
    let at = 0;
    while (bytes.length - at >= 5) {
      const end = at + 1 + int32(bytes, at + 1);
      if (end > bytes.length) break;
      read(bytes[at]!, bytes, at + 5, end);
      at = end;
    }
    rest = at < bytes.length ? bytes.subarray(at) : null;
  };
}

function readRow(bytes: Buffer, from: number): (string | null)[] {
  const count = bytes.readInt16BE(from);
  const row = new Array<string | null>(count);
  let at = from + 2;
  for (let i = 0; i < count; i++) {
    const length = int32(bytes, at);
    at += 4;
    row[i] = length < 0 ? null : bytes.toString("utf8", at, at + length);
    if (length > 0) at += length;
  }
  return row;
}

function readFields(bytes: Buffer, from: number): Field[] {
  const fields: Field[] = [];
  let at = from + 2;
  for (let left = bytes.readInt16BE(from); left > 0; left--) {
    const end = bytes.indexOf(0, at);
    fields.push({
      name: bytes.toString("utf8", at, end),
      dataTypeID: bytes.readUInt32BE(end + 7),
      tableID: bytes.readUInt32BE(end + 1),
      columnID: bytes.readInt16BE(end + 5),
      dataTypeSize: bytes.readInt16BE(end + 11),
      dataTypeModifier: int32(bytes, end + 13),
      format: "text",
    });
    at = end + 19;
  }
  return fields;
}

function readError(bytes: Buffer, from: number, to: number): ErrorFields {
  const fields: ErrorFields = {};
  for (let at = from; at < to && bytes[at] !== 0; ) {
    const end = bytes.indexOf(0, at + 1);
    fields[String.fromCharCode(bytes[at]!)] = bytes.toString("utf8", at + 1, end);
    at = end + 1;
  }
  return fields;
}

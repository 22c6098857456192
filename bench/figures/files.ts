import { randomBytes } from "node:crypto";
import { atLeast, type Bench } from "../figure.ts";
import { type Ask, interleaved, load } from "../load.ts";
import { newTenant } from "../stack.ts";

const SIZE = 5_000_000;

/** Uploads with their authentication, limits, hash and row against a bare Worker that does nothing but `R2.put`. */
export const files: Bench = {
  names: ["file_upload_vs_floor"],
  async measure(stack) {
    const { key } = await newTenant(stack);
    const body = randomBytes(SIZE / 2).toString("hex");
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/octet-stream" };
    let files = 0;
    const upload = (): Ask => ({ method: "POST", path: "/v1/files?name=bench.bin", headers, body });
    const put = (): Ask => ({ method: "PUT", path: `/files/${files++}`, headers, body });
    const per = (base: URL, ask: () => Ask) => async () =>
      (await load(base, ask, { concurrency: 4, ms: 3000 })).perSecond;

    const { ratio, mine, theirs } = await interleaved(per(stack.worker, upload), per(stack.floor, put), { rounds: 5 });

    const megabytes = (perSecond: number) => `${Math.round((perSecond * SIZE) / 1e6)} MB/s`;
    const note = `${megabytes(mine)} against ${megabytes(theirs)}, 4 files of 5 MB at a time`;
    return { file_upload_vs_floor: atLeast(ratio, 0.7, "ratio", note) };
  },
};

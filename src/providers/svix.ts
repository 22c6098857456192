import { equalBytes, fromBase64, hmac } from "../lib/crypto";
import { BadSignature } from "./provider";

const TOLERANCE_SECONDS = 300;

/** A webhook as svix signs it, `whsec_…`: its id, which a repetition keeps, and its body. */
export async function readSvix(request: Request, secret: string | undefined): Promise<{ id: string; body: string }> {
  const [id, at, given] = ["svix-id", "svix-timestamp", "svix-signature"].map(
    (name) => request.headers.get(name) ?? "",
  );
  const body = await request.text();
  const isFresh = Math.abs(Date.now() / 1000 - Number(at || Number.NaN)) <= TOLERANCE_SECONDS;
  if (!secret || !id || !isFresh) throw new BadSignature();
  const own = await hmac(fromBase64(secret.replace(/^whsec_/, "")), `${id}.${at}.${body}`);
  const isSigned = given!.split(" ").some((one) => one.startsWith("v1,") && isEqual(one.slice(3), own));
  if (!isSigned) throw new BadSignature();
  return { id, body };
}

function isEqual(base64: string, own: Uint8Array): boolean {
  try {
    return equalBytes(fromBase64(base64), own);
  } catch {
    return false;
  }
}

/** As svix makes them. */
export const SVIX_SECRET = /^whsec_(?:[A-Za-z0-9+/]{4}){6,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { inject } from "vitest";
import worker from "../src/index";
import { fromBase64, toBase64, utf8 } from "../src/lib/crypto";
import { type SnsMessage, signedText } from "../src/providers/sns";
import { newReceiver } from "./receiver";
import "./setup/provided";

/** A stand-in for Amazon SNS: it signs as SNS does, with a key and certificate made for this alone. */
const KEY = `-----BEGIN PRIVATE KEY-----
MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQDYtvz4yorZy/Qw
w3VK5Vw+canIRJMlJAollkIwOWb9xoGdRMCC9zc6kIgVwfZC8GQhDyEVYmUMxCqk
ETXeb0tBH8V7sJHBfGp2aGDaV1OW6qrcEhsPtukNzAsCNfb8f8sX8NKu4nBGKdA7
OlKybqRSEuF4kLJLdSl8He5rB196GJVYUmim0fG+QItKH66jTagbhHijWEe5LA2s
tZJDVimwTPkBMjNBrDZyBCEueEpTQKergvjCAhSVoJ0Bc+yJSlQgho596UlPGzhP
zHC/tOYy5OJJkVuRQzpsW3MrYtVzBf5PQwcWhLoHKOKR/Vz+o45DVCZX+1qROe8o
i1BNVGEfAgMBAAECggEAW1jyk8oIMhrasM1KvQml0rpldwGUxpSE5GgMOTiQ9Yp9
avWmce3TrU9r1UP/UiLzCc5PQyzI7FMpqCOLAdoGrgo+207HeXfAhm2j2ZTyqov6
/i1xk7OlU8f8oe9uTuttB4fevpG7ApAwci642fZyNBg6SvAu/0iA9ozFSP8AGz3H
8GMxbTPOYNYoqfwzofRxlEY0rmRkujWOQTto4VB3yZcTQKbjYEPQ/GoiNz+WmMBJ
yJmSWhE7HyROyKKB7X3e+jEFUqPiADYMTcbQ4fXALhhqjW/Hd0ZqLEjgKJ6dvZ4z
TBu3TKmR32YITjXWfdNe+Ao611J/9IRdxY3NZnfWwQKBgQDrz+92Cpca0kTtlMsH
NT8/YGG+IaQM5T/pl2vys1yFzZ4QkACzzEjAn+VhyOc2+/rCIQxCSRF6MKGSPDnC
sCEpc+gYnrYcfls0cOnaOyyLVd4OuV0oiT0YGTAXfjfGejlePRZqKyKZrbiHnbkQ
zp5BJ/CsA9xpQ7iYZBUfzWShQQKBgQDrRINF78tJH8Dd9e7hmSgzALS/IBtCvbJ8
XSXoHgvggFPn+gkDntHyAe2bgZejW7tJqy7Ej9MEGe2wpxZ4c79t0GnPH0aOU/e1
4Usf2Xb2v0+KJVF9MOvCop23EHjnWkpGR2LTmfC2/wjCvmxj1yZwED42Dp+a3Qbq
2jTRyrAKXwJ/RCnXDkgBZb9iLUrVZT//CFLT7iHLSe76ios6qO0v0X2eMyttCIwE
e6m8pIduTnaIBZWH9aEpbCiii6LdD2naLCFU9cjq21GrC32YG3z/Y0du6NKsGwuQ
nWaqgB/7/2NVMeh2kjnlxoZw0MLGvBT9qdfhuddj3wm0UlibwpWcgQKBgQCY2wa/
ZbEabXsNuz/da3jmykqk8uNDVaSlkI+UZBErZ7UcPyOkKogVSJNsOaKgDHV+w627
IAbl30LDR4wd7nYtjv9wBs38oymKDjqVEuFsJ5gyFVUAlcxXxPfbfORQzCT9zFu1
R4tSGhlDDh22MI9Ut/jzfkTMhVZ9OBChTaNa2QKBgQC2bRsn5VidUCVa5b/OebmI
h8N5bt1607nEDZpmQmQL5j2s+1kJpHbVLJmXwtX8lxbW3YBRXOEkW//NemjemLpY
3zOuASUHyDhV3JIJODp+2Vx0pdiPb9VKXRvnVCCuBLmoBR19oDIc8Ko5EOCzejX8
5AERubZyD9ndjzq+Z4wcnA==
-----END PRIVATE KEY-----`;
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIDITCCAgmgAwIBAgIUNfYrxXZKOGElPaG4sHQrWj5jOzgwDQYJKoZIhvcNAQEL
BQAwHzEdMBsGA1UEAwwUc25zLnN0YW5kLWluLmV4YW1wbGUwIBcNMjYxMTI3MTQ1
NDI3WhgPMjEyNjExMDMxNDU0MjdaMB8xHTAbBgNVBAMMFHNucy5zdGFuZC1pbi5l
eGFtcGxlMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA2Lb8+MqK2cv0
MMN1SuVcPnGpyESTJSQKJZZCMDlm/caBnUTAgvc3OpCIFcH2QvBkIQ8hFWJlDMQq
pBE13m9LQR/Fe7CRwXxqdmhg2ldTluqq3BIbD7bpDcwLAjX2/H/LF/DSruJwRinQ
OzpSsm6kUhLheJCyS3UpfB3uawdfehiVWFJoptHxvkCLSh+uo02oG4R4o1hHuSwN
rLWSQ1YpsEz5ATIzQaw2cgQhLnhKU0Cnq4L4wgIUlaCdAXPsiUpUIIaOfelJTxs4
T8xwv7TmMuTiSZFbkUM6bFtzK2LVcwX+T0MHFoS6Byjikf1c/qOOQ1QmV/takTnv
KItQTVRhHwIDAQABo1MwUTAdBgNVHQ4EFgQUcKgGLSqbc9v1CcWUVKbShOPt2v4w
HwYDVR0jBBgwFoAUcKgGLSqbc9v1CcWUVKbShOPt2v4wDwYDVR0TAQH/BAUwAwEB
/zANBgkqhkiG9w0BAQsFAAOCAQEAewQnYzm17xIQFDinw0GzorlFP/Fm+WNjMVp1
y1vcFh/9KAaCYNCKPtdPKM/Zd8pv7ndo+w5oH9v5wd3EIG2PBVwWhnOS/famV7gR
4l8OlZ8b0UGow5FE1nIFAoiPaRcPfi9JvZRYEb85VbkxuNFL+CwR8jQr6Y1p8frI
gNYisKqqfv8qKzdwRrU4UWpi+f24S+roqs8+COlK7s9xUndDC6p6pL9PvmFI66At
6aGcH7TGN60asQIWJyoE9udFlfcn9nLT1mj/GzhgPrk8zN04kFLa+Cz+Cn0EHtpz
vbEOh6BVWBBYP2tzQ8pyq5FqUcQ4siT/bIsPUylcO/btjIoKlQ==
-----END CERTIFICATE-----`;

async function signed(message: Omit<SnsMessage, "Signature">): Promise<Uint8Array<ArrayBuffer>> {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: message.SignatureVersion === "2" ? "SHA-256" : "SHA-1" };
  const der = fromBase64(KEY.replace(/-.*-|\s/g, ""));
  const key = await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign(algorithm.name, key, utf8(signedText(message))));
}

type Given = Partial<SnsMessage> & { Message: string; TopicArn: string };

/** Signs a message; what `changed` says is put in afterwards, as a forger would. */
export async function newSns(path = "/v1/inbound/ses") {
  const certificate = newReceiver();
  await certificate.answers({ body: CERTIFICATE });

  return async (given: Given, changed: Partial<SnsMessage> = {}): Promise<Response> => {
    const message: Omit<SnsMessage, "Signature"> = {
      Type: "Notification",
      MessageId: crypto.randomUUID(),
      Timestamp: new Date().toISOString(),
      SignatureVersion: "2",
      SigningCertURL: certificate.url,
      ...given,
    };
    const signature = toBase64(await signed(message));
    const body = JSON.stringify({ ...message, Signature: signature, ...changed });
    const ctx = createExecutionContext();
    const request = new Request(`http://parley.test${path}`, { method: "POST", body });
    const response = await worker.fetch(request as never, { ...env, SNS_ORIGIN: inject("receiverUrl") }, ctx);
    await waitOnExecutionContext(ctx);
    return response;
  };
}

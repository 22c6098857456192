import { apns } from "./apns";
import { cloudflare } from "./cloudflare";
import { fcm } from "./fcm";
import { graph } from "./graph";
import { mailgun } from "./mailgun";
import { postmark } from "./postmark";
import type { Provider } from "./provider";
import { resend } from "./resend";
import { sandbox } from "./sandbox";
import { ses } from "./ses";
import { smtp } from "./smtp";
import { webPush } from "./web-push";

/** Every vendor there is; a new one is a file and a line here. */
export const PROVIDERS = [
  sandbox,
  ses,
  resend,
  postmark,
  mailgun,
  smtp,
  cloudflare,
  graph,
  fcm,
  apns,
  webPush,
] as const;

const known = new Map<string, Provider>(PROVIDERS.map((provider) => [provider.name, provider as unknown as Provider]));

export function providerNamed(name: string): Provider {
  const provider = known.get(name);
  if (!provider) throw new Error(`There is no provider ${name}.`);
  return provider;
}

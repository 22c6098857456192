const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";

/** A mailbox name that any server takes; what the domain is worth is seen when it is sent. */
export const ADDRESS = new RegExp(String.raw`^${ATOM}(\.${ATOM})*@[^\s@<>()[\]\\,;:"/?#%]{1,255}$`);
export const LOCAL_MOST = 64;

/** Names of hosts in other scripts travel as ASCII. Null where no host can be called so. */
export function asciiHost(host: string): string | null {
  // Nothing that a URL would take for more, or for less, than the name.
  if (/[\s/?#%:@\\[\]]/.test(host)) return null;
  const name = URL.parse(`http://${host}`)?.hostname ?? "";
  const sound = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$/.test(name);
  return sound && /[^\d.]/.test(name) ? name : null;
}

/**
 * An address that others wrote down, as a mail can be sent to it. Takes more than we would write, dots in a row and
 * quotes, but nothing that a server or provider could read as two. Null where it cannot be sent to.
 */
export function sendableAddress(given: string): string | null {
  const at = given.lastIndexOf("@");
  const host = asciiHost(given.slice(at + 1).replace(/\.$/, ""));
  // Quotes that say nothing would make a second address of the same mailbox.
  const local = given.slice(0, Math.max(at, 0)).replace(/^"([\w.!#$%&'*+/=?^`{|}~-]+)"$/, "$1");
  const isSound = /^[\w.!#$%&'*+/=?^`{|}~-]{1,64}$/.test(local) || /^"[ !#-'*+./0-9=?A-Z^-~-]{1,62}"$/.test(local);
  return host !== null && isSound ? `${local}@${host}` : null;
}

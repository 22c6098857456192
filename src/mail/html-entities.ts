/** HTML 4's names, of which mail uses hardly all: in the order of their code points where those follow each other. */
const RUNS: [first: number, names: string][] = [
  [
    160,
    "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml",
  ],
  [0x391, "Alpha Beta Gamma Delta Epsilon Zeta Eta Theta Iota Kappa Lambda Mu Nu Xi Omicron Pi Rho"],
  [0x3a3, "Sigma Tau Upsilon Phi Chi Psi Omega"],
  [0x3b1, "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigmaf sigma tau"],
  [0x3c5, "upsilon phi chi psi omega"],
  [0x2018, "lsquo rsquo sbquo"],
  [0x201c, "ldquo rdquo bdquo"],
  [0x2020, "dagger Dagger bull"],
  [0x2190, "larr uarr rarr darr harr"],
  [0x2002, "ensp emsp"],
  [0x200c, "zwnj zwj lrm rlm"],
  [0x2013, "ndash mdash"],
  [0x152, "OElig oelig"],
  [0x160, "Scaron scaron"],
  [0x2264, "le ge"],
];

const SINGLE: Record<string, number> = {
  amp: 0x26,
  AMP: 0x26,
  lt: 0x3c,
  LT: 0x3c,
  gt: 0x3e,
  GT: 0x3e,
  quot: 0x22,
  QUOT: 0x22,
  apos: 0x27,
  Tab: 9,
  NewLine: 10,
  colon: 0x3a,
  lpar: 0x28,
  rpar: 0x29,
  sol: 0x2f,
  bsol: 0x5c,
  commat: 0x40,
  num: 0x23,
  period: 0x2e,
  Yuml: 0x178,
  fnof: 0x192,
  circ: 0x2c6,
  tilde: 0x2dc,
  thinsp: 0x2009,
  hellip: 0x2026,
  permil: 0x2030,
  lsaquo: 0x2039,
  rsaquo: 0x203a,
  euro: 0x20ac,
  trade: 0x2122,
  minus: 0x2212,
  infin: 0x221e,
  ne: 0x2260,
  check: 0x2713,
  hearts: 0x2665,
};

const NAMES = new Map<string, number>(Object.entries(SINGLE));
for (const [first, names] of RUNS) for (const [i, name] of names.split(" ").entries()) NAMES.set(name, first + i);

/** Numbers of the C1 range mean Windows-1252, as browsers read them. */
const WINDOWS = new TextDecoder("windows-1252");

export function decodeEntities(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(
    /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,8}));?/g,
    (whole, decimal, hex, name) => {
      const code = name ? NAMES.get(name) : Number.parseInt(decimal ?? hex, decimal ? 10 : 16);
      if (code === undefined) return whole;
      if (!name && code >= 0x80 && code < 0xa0) return WINDOWS.decode(Uint8Array.of(code));
      const valid = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
      return valid ? String.fromCodePoint(code) : "\ufffd";
    },
  );
}

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

export const escapeHtml = (text: string): string => text.replace(/[&<>"]/g, (char) => ESCAPES[char]!);

import type { Reason } from "./facts";
import { any } from "./patterns";

/** What servers say of a host, of rules, and of themselves. */
export const OF_HOSTS: [Reason, RegExp][] = [
  [
    "relayDenied",
    any(
      String.raw`relay(ing)?[^.;\n]{0,30}(denied|not (allowed|permitted|enabled|authori)|prohibit|reject|fail|disallow|` +
        "verweigert)",
      String.raw`(unable|not (allowed|permitted|able)|cannot|can.t|will not|don.t|do not|refus\w+) (to )?relay|no relay`,
      "relay access|not (a )?(local|our) (domain|host|recipient)|we don.t handle mail for|rcpthosts",
      String.raw`not (a )?gateway|domain[^.;\n]{0,20}(isn.t|is not) (in my list|hosted|local|handled)|\b5\.7\.64\b`,
      String.raw`mail for [^.;\n]{0,60} loops back`,
    ),
  ],
  [
    "senderRejected",
    any(
      String.raw`sender (address )?[^.;\n]{0,60}(reject|denied|not (allowed|accepted|exist|verif|found|valid|authorized)|` +
        "refused|blocked|unknown|does not exist|unverifi|invalid|domain must exist)",
      String.raw`sender verif\w+ fail|(invalid|bad|unknown|forged|unverified|fake) (sender|return|envelope|mail from|from)`,
      String.raw`\bmail from\b[^.;\n]{0,60}(reject|denied|invalid|not|fail)|domain of (the )?sender|send(er)?('s)? domain`,
      String.raw`not (allowed|authori[sz]ed|permitted) to send (as|from|on behalf|mail)|send ?as|\b5\.1\.[78]\b|\b5\.7\.60\b`,
      "access denied, (bad outbound|banned) sender",
      String.raw`from[: ]*(address|domain)[^.;\n]{0,40}(reject|invalid|not|denied)|backscatter|envelope from`,
      String.raw`absender[^.;\n]{0,40}(abgelehnt|unbekannt|gesperrt|verweigert)`,
    ),
  ],
  [
    "noMailHost",
    any(
      "null ?mx",
      String.raw`(host|domain|server)[^.;\n]{0,60} (does not|doesn.t|do not|never|not) (accept|receive)s? (any )?(e-?)?mails?`,
      String.raw`mail is not accepted|no (usable |valid )?(mx|mail (server|host|exchanger))|\bno mx\b`,
      String.raw`\b[45]\.1\.10\b[^\n]{0,30}(null|domain)|mail exchanger|mx (record )?(points?|resolves) to|^556|smtp;? ?556`,
      "all relevant mx|lowest numbered mx|(has|with) no mail exchangers?",
    ),
  ],
  [
    "network",
    any(
      "host not found, try again|servfail|server failure",
      String.raw`name server[^.;\n]{0,30}(timed? ?out|no answer|not respond)`,
    ),
  ],
  [
    "hostUnknown",
    any(
      String.raw`(host|domain|domain name)[^.;,\n]{0,60}(unknown|not found|(does not|doesn.t|did not) exist|` +
        "non-?exist|could ?n.t be found|could not be found|wasn.t found|invalid|not be resolved|must exist|" +
        "is not (known|valid))",
      "nxdomain|invalid dns|no such (domain|host)|unknown (host|domain|server)|unrout(e)?able (mail )?domain",
      "name or service not known|bad destination (host|system|mailbox address, domain)",
      String.raw`(couldn.t|could not|cannot|can.t|unable to) (find|resolve|locate|lookup)[^.;\n]{0,50}(host|domain|server|mx)`,
      String.raw`illegal host|invalid (host|domain)|\b5\.1\.2\b|\b5\.4\.310\b`,
      String.raw`domain[eäe]?[^.;\n]{0,30}(nicht gefunden|existiert nicht|unbekannt|introuvable|inconnu|no existe|` +
        "inesistent|não (existe|encontrad))",
      String.raw`домен[^.\n]{0,40}не (найден|существует)|ドメイン[^。\n]{0,20}(見つかり|存在しま)|域名[^。\n]{0,10}(不存在|错误)`,
    ),
  ],
  [
    "expired",
    any(
      String.raw`expired|retry (time|timeout)[^.;\n]{0,20}exceeded`,
      "(could not|couldn.t|has not|not) be(en)? delivered (with)?in|undelivered (after|for)",
      "too long in (the )?queue|(been )?in (the )?queue (too long|for)|been trying|giving up after|gave up",
      String.raw`message (has )?timed out|delivery (time|retry)[^.;\n]{0,30}(expired|exceeded|out)|\b[45]\.4\.7\b`,
      "maximum (queue|retry|delivery) (time|lifetime)|queue lifetime|still (not|being) (been )?(deliver|retri|tri)",
      "will (keep|continue) (trying|to (try|retry))|delivery (is )?delayed|verz[öo]ger|unzustellbar seit",
    ),
  ],
  [
    "network",
    any(
      "connection (was )?(refused|timed out|reset|closed|lost|dropped|failed|attempt)",
      String.raw`(connect|connecting) to [^;\n]{0,80}(refused|timed out|fail|unreachable)|network (is )?(unreachable|error)`,
      "no route to host|host (is )?(unreachable|down)|timed out|time-?out",
      String.raw`dns (lookup|query|server)?\s?(error|failure|failed)`,
      String.raw`(name|domain|host)[^.;\n]{0,20} (lookup|service) (error|failure|fail|timed)|loop|too many hops|hop count`,
      String.raw`\bhops\b|\b[45]\.4\.(1[0-9]|[0234569])\b|unable to connect|could ?n.t connect|can.t connect|cannot connect`,
      "deferred: (connection|network)|no answer from host|verbindung",
    ),
  ],
  ["policy", /polic(y|ies)/],
  ["blocked", /\bblocked\b/],
  [
    "policy",
    any(
      "not (authori[sz]ed|permitted|allowed)|prohibited|administrative(ly)?|denied|restrict(ed|ion)|only accepts?",
      "internal (senders|use) only|members? only|not accepting (mail|messages)|moderat|approv|forbidden",
      String.raw`resolver\.rst|access control|verweigert|richtlinie|политик|ポリシー|策略|refused by|unacceptable`,
      "rejected by (the )?(server|system|organization|rule|transport rule)|transport rule|geo|country",
    ),
  ],
  [
    "system",
    any(
      "system (error|problem|storage|resources|not accepting)|internal (server |software |processing )?error",
      "local (error|problem|configuration|delivery failed|policy)|insufficient (system )?(storage|resources)",
      String.raw`disk (is )?full|i\/o error|read-?only file system`,
      "server (configuration|error|busy|is overloaded|temporarily|unavailable)",
      "service (is )?(not |un|temporarily un)available",
      String.raw`temporar(y|il)[^.;\n]{0,30}(unavailable|deferred|reject|fail|error|problem|server)`,
      "configuration (error|problem)|mailer (error|daemon)|command (died|failed)|exited with|unknown mailer error",
      String.raw`can.t create|cannot (create|open|write|append)|unable to (open|create|write)|queue file|maildir|lmtp|mda\b`,
      String.raw`out of memory|over ?load|try again later|shut(ting)? down|\b[45]\.3\.[0-25]\b|temporary (local )?problem`,
      "system(fehler)",
    ),
  ],
  [
    "protocol",
    any(
      "syntax error|command (not |un)?(recognized|implemented|rejected|supported)|bad (sequence|command|syntax)",
      "protocol (error|violation)|unrecognized|need (mail|rcpt|helo)",
      String.raw`(helo|ehlo)[^.;\n]{0,40}(invalid|reject|required|not)|improper|pipelining|line (is )?too long|smtputf8`,
      String.raw`8bitmime|\b5\.5\.[1-6]\b|\b5\.6\.6\b|nested mail|(invalid|illegal) (syntax|character|address format)`,
      "malformed",
    ),
  ],
];

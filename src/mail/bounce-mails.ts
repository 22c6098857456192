import type { Reason } from "./facts";
import { any } from "./patterns";

/** What servers say of a recipient, a sender or a mail. */
export const OF_MAILS: [Reason, RegExp][] = [
  [
    "greylisted",
    any(
      String.raw`gr[ea]y-?\s?list|postgrey|try again in \d+ (seconds|minutes)`,
      String.raw`4\.7\.1 .{0,60}(come back later|please try later)`,
    ),
  ],
  ["virus", /virus|malware|infected (file|attachment|message|with)|trojan|вирус|ウイルス|病毒/],
  [
    "mailboxFull",
    any(
      String.raw`(mailbox|inbox|mail ?box|account|user|recipient|postfach|mail folder|maildir)[^.;\n]{0,60}(\bfull\b|` +
        String.raw`over(\s|-)?quota|over (its |the )?(storage|size|disk|limit)|exceeded (its |the |their )?(quota|storage|` +
        "size|limit|allotted)|out of (storage|space)|size limit|too full)",
      String.raw`over ?quota|(disk )?quota[^.;\n]{0,30}(exceed|full|over|violat|reached)|exceed[^.;\n]{0,40}\bquota`,
      "out of storage|not enough (disk |storage )?space|insufficient (disk|mailbox|storage) space",
      "storage (limit|space|quota|allocation)|mailbox size|mailbox_?full|quotaexceeded|mailboxfull",
      String.raw`postfach[^.;\n]{0,40}voll|speicherplatz|bo[iî]te[^.;\n]{0,50}(pleine|satur)`,
      String.raw`quota[^.;\n]{0,30}(d[ée]pass|superad|excedid)|buz[oó]n[^.;\n]{0,50}llen|casella[^.;\n]{0,50}pien`,
      String.raw`caixa[^.;\n]{0,50}cheia|postvak[^.;\n]{0,40}vol\b|skrzynka[^.;\n]{0,40}(pe[łl]n|przepe[łl]n)`,
      String.raw`(ящик[^.;\n]{0,40}(переполнен|заполнен))|квот|メールボックス[^。\n]{0,30}(いっぱい|満杯|容量)|容量(オーバー|超過|不足|が)`,
      String.raw`(邮箱|信箱|郵箱)[^。\n]{0,20}(已满|已滿|空间不足|容量)|brevl[åa]da[^.;\n]{0,40}full|postkasse[^.;\n]{0,40}full`,
      String.raw`postilaatikko[^.;\n]{0,40}t[äa]ynn`,
    ),
  ],
  [
    "filtered",
    any(
      "受信拒否|ドメイン指定受信|拒收|(reject|refus|block|filter)(ed|s)?( out)? by (the )?(recipient|user|addressee)",
      "recipient('s)? (mailbox )?(filter|has (blocked|refused|rejected)|(does not|doesn.t) (want|accept))",
      "user('s)? filter|blocked by the (user|recipient)|permission (denied )?from the recipient",
      "mail (was )?filtered",
    ),
  ],
  [
    "suspended",
    any(
      "(account|mailbox|user|recipient|address|e-?mail|konto|compte|cuenta|" +
        String.raw`conta)(\(s\))?[^.;:\n]{0,50}\b(disabled|suspended|inactive|locked|deactivated|frozen|not active|` +
        "desactivad|suspendid|désactiv|suspendu|gesperrt|deaktiviert|desativad|suspens|disabilitat|sospes)",
      "(disabled|suspended|inactive|deactivated) (account|mailbox|user|recipient)|temporarily (disabled|inactive)",
      "account (that you tried to reach is )?(disabled|inactive)|discontinued",
      String.raw`ящик[^.\n]{0,30}(заблокирован|отключен)|アカウント[^。\n]{0,15}(停止|無効)|利用停止|(账号|帐号|邮箱|用户)[^。\n]{0,6}(冻结|禁用|停用|锁定)`,
    ),
  ],
  [
    "moved",
    any(
      String.raw`has moved|have moved|user moved|mailbox moved|(address|e-?mail)[^.;\n]{0,30}(has )?changed (to|permanently)`,
      String.raw`new (e-?mail )?address is|please (use|try|contact)[^.;\n]{0,20} (new|instead)[^.;\n]{0,20}@`,
      "no longer (works|employed|with (us|the)|at this (company|address))|forward-path: |neue adresse lautet",
      "adresse a chang",
    ),
  ],
  ["policy", /resolver\.rst|delivery restriction|restrictedtorecipients|not authorized to send to the recipient/],
  [
    "noPtr",
    any(
      String.raw`reverse (dns|lookup|hostname|record)|\bptr\b|\brdns\b|no reverse|find your (reverse )?host`,
      String.raw`does not resolve to|hostname mismatch|\b[45]\.7\.25\b|helo name does not match|forward[- ]confirmed`,
    ),
  ],
  [
    "authFailure",
    any(
      String.raw`\bspf\b|\bdkim\b|\bdmarc\b|unauthenticated (e-?mail|sender|message)`,
      String.raw`(message|mail|e-?mail|sender|domain)[^.;\n]{0,30}not (been )?authenticat`,
      String.raw`authentication (checks?|results?) (fail|do not|did not)|doesn.t (meet|pass)[^.;\n]{0,30}authentication`,
      String.raw`\b[45]\.7\.2[0-46]\b|\b5\.7\.30\b|sender policy framework`,
    ),
  ],
  [
    "tls",
    any(
      "starttls",
      String.raw`\btls\b[^.;\n]{0,60}(requir|fail|error|not (available|supported|offered|verified)|handshake|negotiat|` +
        "version)",
      String.raw`requires? (tls|encryption)|encryption (is )?required|certificate|\b[45]\.7\.10\b|ssl (error|handshake)`,
      String.raw`mta-sts|dane\b`,
    ),
  ],
  [
    "rateLimited",
    any(
      "too (many|much) (messages|connections|concurrent|e-?mails?|mails?|recipients|requests|errors|sessions|" +
        "smtp|unknown|failed|invalid)",
      "rate[- ]?limit|ratelimit|throttl|at a rate",
      String.raw`(sending|receiving|message|connection|hourly|daily|per[- ](hour|minute|day))[^.;\n]{0,20} (rate|` +
        String.raw`limit)[^.;\n]{0,30}exceed`,
      String.raw`exceed[^.;\n]{0,40}(rate|messages per|connections|per (hour|minute|day)|daily|hourly|sending limit|` +
        "number of (messages|connections))",
      String.raw`too (fast|quickly|frequent)|slow down|unusual(ly high)? rate|\[tss?0[0-9]\]|user complaints|频率|頻度`,
      "заслишком часто|слишком много (писем|сообщений|соединений)|limit reached",
      "reduce (your|the) (sending )?(rate|speed|concurren)|zu viele (verbindungen|nachrichten|e-?mails)",
      "trop de (connexions|messages)",
    ),
  ],
  [
    "blocked",
    any(
      String.raw`spamhaus|spamcop|barracudacentral|\bsorbs\b|\b(dns)?(rbl|dnsbl|xbl|sbl|pbl|css|uribl)\b`,
      "(black|block|deny)[- ]?list|proofpoint dynamic reputation|senderbase|senderscore|talos|reputation",
      "banned (sending )?(ip|host)",
      String.raw`(ip|host|server|client|network|address range|connection|sender ip)[^.;\n]{0,80}(block(ed)?\b|banned|` +
        "listed|not allowed to connect|rejected due to)",
      String.raw`s3140|s3150|\bib10\d|\bib50\d|dynamic (ip|address|range)|poor reputation|not accepted from (this|your)`,
      String.raw`refused to talk to me: 5\d\d|access from (ip|your)|unlock.*your ip|unsolicited mail originating from your ip`,
      "remote host denied",
    ),
  ],
  [
    "spam",
    any(
      String.raw`\bspam\b|spammy|spam[- ]?(message|score|content|detect|filter|like|assassin)|anti-?spam|junk|unsolicited`,
      String.raw`\bbulk\b[^.;\n]{0,20}mail|\bu[cb]e\b|bayes|phish|suspicious|спам|スパム|迷惑メール|垃圾|spamverdacht`,
    ),
  ],
  [
    "tooLarge",
    any(
      String.raw`too (large|big)\b|(message|mail|e-?mail) (is )?too long`,
      String.raw`message[^.;\n]{0,20}(size|length)[^.;\n]{0,40}(exceed|limit|maximum|large)`,
      String.raw`exceed[^.;\n]{0,40}(message size|maximum size|size limit|fixed (maximum )?(message )?size|` +
        "maximum (allowed )?(message )?length|the maximum)",
      String.raw`size[- ]limit|larger than|maximum (message )?size|\b5\.3\.4\b|\b5\.2\.3\b|zu gro(ß|ss)`,
      "trop (gros|grand|volumineu|lourd)|demasiado grande|excede el tama|troppo grande|muito grande|te groot",
      String.raw`f[öo]r stor|for stor\b|liian suur|za du[żz]|слишком (большой|велик)|размер[^.\n]{0,30}превы`,
      String.raw`サイズ[^。\n]{0,20}(超|大き|制限)|(邮件|信件|附件)[^。\n]{0,8}(过大|太大|超过)`,
    ),
  ],
  [
    "content",
    any(
      "content presents|(because|due to) (its|of its|of the) ?content|(due to|because of) content|potential security issue",
      String.raw`content[^.;\n]{0,30}(reject|not (acceptable|allowed|permitted)|violat|filter|block|prohibit|restrict|denied)`,
      String.raw`(attachment|file type|executable|extension)[^.;\n]{0,50}(not (allowed|permitted|accepted)|block|reject|` +
        "prohibit|forbidden|illegal|banned|denied)",
      "(illegal|prohibited|forbidden|banned|dangerous|potentially harmful) (attachment|content|file|extension)",
      String.raw`header[^.;\n]{0,40}(missing|invalid|not (valid|compliant)|duplicate|multiple)`,
      String.raw`(multiple|missing|duplicate|no valid) [^.;\n]{0,20}header|bare (lf|cr|line ?feed)|rfc ?-?\s?(2|5)(822|322)`,
      String.raw`url[^.;\n]{0,40}(list|block|reject)|message (format|contains)|mime (error|format|structure|encoding)`,
      String.raw`\b5\.6\.[0-57-9]\b|inhalt[^.;\n]{0,30}abgelehnt|содержимое`,
    ),
  ],
];

const either = (...texts: string[]): string => `(?:${texts.join("|")})`;

/** The header a client copies above what it quotes: each of these before a colon. */
const FROM = either(
  "from|von|de|da|van|från|fra|lähettäjä|od|от кого|от|差出人|送信者|发件人|寄件者|寄件人|發件人|보낸 ?사람|feladó|odesílatel|kimden|de la|从|от|expéditeur|remitente|remetente|mittente|afzender|avsändare|afsender|avsender|nadawca|отправитель",
);
const SENT = either(
  "sent|date|gesendet|gesendet am|datum|envoyé|envoyé le|date d'envoi|enviado|enviado el|enviado em|enviada|enviada em|fecha|data|inviato|inviato il|verzonden|skickat|sendt|lähetetty|päivämäärä|päiväys|pvm|wysłano|data wysłania|отправлено|дата|送信日時|日時|日付|送信済み|发送时间|发送日期|日期|时间|時間|寄件日期|傳送時間|dato|elküldve|odesláno|gönderildi|on",
);
const TO = either(
  "to|an|à|a|para|per|aan|till|til|vastaanottaja|do|кому|宛先|收件人|收件者|destinataire|destinatario|destinatário|odbiorca|mottagare|modtager|mottaker|címzett|komu|kime",
);
const COPY = either(
  "cc|bcc|kopie|copie|copia|cópia|kopia|kopi|kopio|dw|копия|抄送|副本|reply-to|antwort an|importance|priority|wichtigkeit|attachments",
);
const SUBJECT = either(
  "subject|betreff|objet|sujet|asunto|assunto|oggetto|onderwerp|ämne|emne|aihe|temat|тема|件名|题名|主题|主旨|標題|tárgy|předmět|konu|subiect",
);

const label = (names: string): RegExp => new RegExp(`^[\\s*_]{0,4}${names}[*_]{0,2}\\s?[:：]\\**\\s*(.*)$`, "iu");

export const LABELS = {
  from: label(FROM),
  sent: label(SENT),
  to: label(TO),
  copy: label(COPY),
  subject: label(SUBJECT),
};

/** `-----Original Message-----` as each client writes it. */
export const ORIGINAL = new RegExp(
  `^[\\s*]*[-_=─—]{2,}\\s*${either(
    "original(e)?( message| mail| e-?mail| appointment)?|.{1,80}(wrote|schrieb|a écrit|escribió|ha scritto|schreef) ?:?|reply message|ursprüngliche (nachricht|e-?mail)|original(-| )?(nachricht|mail)|originalnachricht|message d['’]origine|message (original|initial)|mensaje original|mensagem original|messaggio (originale|originario)|oorspronkelijk(e)? (bericht|e-?mail)|original ?meddelande|ursprungligt meddelande|original ?meddelelse|oprindelig(e)? (meddelelse|mail|besked)|opprinnelig melding|original melding|alkuperäinen viesti|(oryginalna )?wiadomość oryginalna|oryginalna wiadomość|исходное (сообщение|письмо)|оригинальное (сообщение|письмо)|原始邮件|原始郵件|原邮件|元のメッセージ|original message|eredeti üzenet|původní zpráva|mesaj original|orijinal (mesaj|ileti)|replied message|antwort(ete)? nachricht|回复的原邮件",
  )}\\s*[-_=─—]{2,}[\\s*]*$`,
  "iu",
);

/** Words over what is passed on. */
export const FORWARDED = new RegExp(
  `^[\\s*]*(?:[-_=]{2,}\\s*${either(
    "forwarded (message|mail|by.{0,60})|weitergeleitete (nachricht|e-?mail)|message (transféré|réexpédié)|(mensaje|correo) reenviado|mensagem (encaminhada|reencaminhada)|messaggio inoltrato|doorgestuurd(e)? bericht|vidarebefordrat (meddelande|mail|brev)|videresendt (meddelelse|melding|besked|mail)|(edelleen ?lähetetty|välitetty) viesti|(treść )?przekazan(a|ej) wiadomoś(ć|ci)|wiadomość przekazana|(пересылаемое|пересланное|переадресованное) сообщение|転送(された)?メッセージ|转发(的)?邮件|轉寄(的)?郵件|転送|továbbított üzenet|přeposlaná zpráva",
  )}\\s*[-_=]{2,}|${either(
    "begin forwarded message|anfang der weitergeleiteten (nachricht|e-?mail)|début du message (réexpédié|transféré)|inicio del mensaje reenviado|início da mensagem (encaminhada|reencaminhada)|inizio (del )?messaggio inoltrato|begin doorgestuurd bericht|vidarebefordrat brev|start på videresendt meddelelse|videresendt melding|välitetty viesti( alkaa)?|początek przekazywanej wiadomości|начало (переадресованного|пересылаемого) сообщения|転送されたメッセージ|开始转发的邮件|開始轉寄郵件",
  )}\\s?[:：])[\\s*]*$`,
  "iu",
);

/** The verb of an attribution; in some languages the name follows it. */
export const WROTE = new RegExp(
  `(?:(?<![\\p{L}])${either(
    "wrote|writes|schrieb|schreibt|geschrieben|a écrit|écrit|escribió|escribio|escreveu|ha scritto|scrive|schreef|skrev|skriver|kirjoitti|napisał\\(a\\)|napisała|napisał|pisze|написала?|написал\\(а\\)|пишет|писала?|írta|napsal\\(a\\)|napsal|yazdı|şunu yazdı|a scris",
  )}(?![\\p{L}])[^\\n]{0,200}?|写道|寫道|来信|来函|さんは書きました|さんが書きました|のメール|さんのメール|さんからのメール|작성)\\s?[:：]\\s*$`,
  "iu",
);

/** How one begins; what begins otherwise must hold an address or stand right above a quote. */
export const OPENER =
  /^[\s*]*(on|at|in|am|um|le|el|em|no dia|a |il|op|den|på|w dniu|dnia|w|dne|в|tor|man|tir|ons|fre|lør|søn|mån|tis|tors|lör|sön|ma|ti|ke|to|pe|la|su|pon|wt|śr|czw|pt|sob|niedz|пн|вт|ср|чт|пт|сб|вс|lun|mar|mer|mié|mie|jeu|jue|gio|ven|vie|sam|sáb|sab|dim|dom|seg|ter|qua|qui|sex|ma|di|wo|do|vr|za|zo|mo|mi|fr|sa|so|mon|tue|wed|thu|fri|sat|sun|在|于|於|\d)/iu;

/** A year, or a day and a time. */
export const DATED =
  /(?<!\d)(19|20)\d\d(?!\d)|(?<!\d)\d{1,2}[./-]\d{1,2}[./-]\d\d(?!\d)|\d{1,2}[./-]\d{1,2}([./-]\d{2,4})?[^\n]{0,20}\d{1,2}[:.]\d\d|\d{1,2}[:.h]\d\d[^\n]{0,20}\d{1,2}[./-]\d{1,2}/u;

const phone =
  "(?:(?:i ?(?:phone|pad|pod)|(?:samsung|galaxy|huawei|xiaomi|redmi|poco|pixel|android|blackberry|nokia|sony|htc|lg|motorola|oneplus|oppo|handy|smartphone|mobil\\w*|mobile|tablet\\w*|windows (?:phone|10|11)?|outlook|mail|yahoo|gmail|aol|t-mobile|verizon|o2|vodafone|proton|gmx|web\\.de|hey|spark|mailbird|telefon\\w*|téléphone|telefono|teléfono|móvil|celular|telemóvel|cellulare|toestel|puhelimesta|device|mac)))";

/** What a phone adds of its own accord. */
export const MOBILE = new RegExp(
  `^[\\s*_>-]{0,4}(?:${either(
    `sent (?:from|via|with|using|by) (?:my |the |a )?[^\\n]{0,40}${phone}`,
    `sent from [\\w ]{1,30}(?:app|mobile|mail)`,
    `sent with (?:proton|tutanota|spark|superhuman|unibox|mailbird)`,
    `(?:get|download) (?:the )?outlook (?:for|app)`,
    `von (?:meinem |meinen |unterwegs|outlook)[^\\n]{0,60}(?:gesendet|geschickt)`,
    `(?:diese nachricht wurde |diese e-?mail wurde )?(?:gesendet|geschickt|verschickt|versandt) (?:von|mit|über|via|aus) [^\\n]{0,40}${phone}`,
    `gesendet von unterwegs`,
    `diese (?:nachricht|e-?mail) wurde (?:von|mit|über|aus)[^\\n]{0,60}(?:gesendet|verschickt|geschrieben)`,
    `outlook for (?:ios|android) ?を入手`,
    `(?:holen sie sich|laden sie) outlook`,
    `(?:envoyé|expédié|envoyée) (?:de|depuis|à partir de|par|avec|via) [^\\n]{0,40}${phone}`,
    `(?:télécharge[rz]|obtenir|obtenez) outlook`,
    `(?:enviado|mandado) (?:desde|con|por|do|da|de|a partir do|pelo|via) [^\\n]{0,40}${phone}`,
    `(?:obtener|obtén|descarga|descargar|obter|obtenha|baixar|baixe) o? ?outlook`,
    `(?:inviato|spedito) (?:da|dal|dallo|con|tramite) [^\\n]{0,40}${phone}`,
    `(?:scarica|ottieni) outlook`,
    `(?:verstuurd|verzonden|gestuurd) (?:vanaf|vanuit|met|via|van|door) [^\\n]{0,40}${phone}`,
    `(?:outlook voor (?:ios|android) (?:downloaden|ophalen)|download outlook voor)`,
    `(?:skickat|sänt) (?:från|med|via) [^\\n]{0,40}${phone}`,
    `(?:skaffa|hämta|hent|få|last ned) outlook`,
    `sendt (?:fra|med|via) [^\\n]{0,40}${phone}`,
    `lähetetty [^\\n]{0,40}(?:iphone|ipad|puhelim|android|samsung|outlook|galaxy|laitte|sähköpost)`,
    `(?:hanki|lataa) outlook`,
    `wysłan[eoya]+ (?:z|ze|za pomocą|przez|przy użyciu) [^\\n]{0,40}${phone}`,
    `(?:pobierz|uzyskaj) (?:program |aplikację )?outlook`,
    `отправлено (?:с|из|через|от) [^\\n]{0,40}(?:iphone|ipad|android|почт|mail|яндекс|outlook|устройств|смартфон|телефон|samsung|xiaomi|huawei|honor|galaxy)`,
    `(?:скачать|получить|загрузить) outlook`,
    `[^\\n]{0,30}${phone}[^\\n]{0,12}から(?:の)?送信`,
    `(?:ios|android) 用 outlook`,
    `(?:发|發|寄)自(?:我的|于)?[^\\n]{0,12}(?:iphone|ipad|手机|手機|邮箱|郵箱|mail|outlook|华为|小米|vivo|oppo|荣耀|网易|qq|客户端|设备|裝置)`,
    `从我的[^\\n]{0,20}发送`,
    `從我的[^\\n]{0,20}(?:傳送|寄出|發送)`,
    `(?:获取|下载|取得) ?outlook`,
    `(?:yahoo mail|aol mail)[:-][^\\n]{0,60}(?:organi[sz]e|conquer|get the app)`,
    `virus-?free\\.`,
    `this e-?mail (?:has been|was) (?:checked|scanned) (?:for|by)`,
    `diese e-?mail wurde von [^\\n]{0,30} auf viren`,
  )})[^\\n]{0,80}$`,
  "iu",
);

/** Above it the answer, below it history: helpdesks ask for that. */
export const ANSWER_ABOVE =
  /^[\s*#=_-]*(please )?(type|write|reply|enter|respond)[^\n]{0,30} (above|over) this line|^[\s*#=_-]*(bitte )?(antwort|schreiben sie)[^\n]{0,30} (über|oberhalb)[^\n]{0,20}linie|^[\s#=_-]*(répondre|veuillez répondre)[^\n]{0,20} au-dessus de cette ligne|^[\s#=_-]*(por favor,? )?(escrib|respond)[^\n]{0,30} (encima|por encima|acima) (de|desta) (esta )?l[ií]nea?/iu;

/** A mailing list signs below the one who wrote. */
export const LIST_FOOTER =
  /mailing ?list|listinfo|unsubscribe|google groups|verteiler|liste de diffusion|mailman|list-?archive/i;

const subjects = (...prefixes: string[]): RegExp =>
  new RegExp(`^\\s*${either(...prefixes)}\\s?(?:\\[\\d+\\])?[:：]`, "iu");

export const FORWARD_SUBJECT = subjects("fwd?|wg|tr|rv|enc|i|doorst|vl|vb|vs|pd|ptc|fs|továbbítás|转发|轉寄|转寄|転送");

/** `VS:` forwards in Danish and answers in Finnish, so that it decides nothing alone. */
export const AMBIGUOUS_SUBJECT = subjects("vs");

import { any } from "./patterns";

/** Spoken of an address that is not there. Read before the others, unless these speak of the host, the sender or a rule. */
export const NOBODY = any(
  "(user|recipient|account|mailbox|mail ?box|address|addressee|alias|person|destination|" +
    String.raw`recipient.s address)(\(s\))?\b[^.;\n]{0,70}?(not found|does ?n[o'’]?t exist|doesn.t exist|` +
    String.raw`do(es)? not exist|not exist|\bunknown\b|not known|no longer (exists?|available|valid|in use|on|` +
    "active here|used)|(is |was |are )?invalid|not listed|could ?n.t be found|could not be found|" +
    "wasn.t found|is not (valid|recogni[sz]ed|a (known|valid)|known)|isn.t (known|valid|a)|not a (valid|" +
    "known)|never existed|is unavailable|unavailable|does not have an? |not registered|cannot be found|" +
    "nicht gefunden|unbekannt|existiert nicht|not here|doesn.t have)",
  "unknown[- ](user|recipient|account|mailbox|address|local|email|e-mail)",
  "no such (user|recipient|mailbox|person|account|address|local|e-?mail|id|customer|subscriber)",
  "no (mailbox|user|account) (here|by that|with that|found|of that)|user unknown",
  "invalid (recipient|mailbox|user|address|e-?mail|account|final delivery)",
  "not (a )?(valid|known|registered) (user|mailbox|recipient|address|e-?mail)|not our customer",
  String.raw`(isn.t|is not|not) (in|listed in|found in)[^.;\n]{0,40}(directory|address book|database|table)`,
  "recipientnotfound|recipnotfound|address (not found|lookup failed|couldn.t be found|wasn.t found)",
  String.raw`unrout(e)?able address|doesn.t have an? [\w.]+ account|mailbox unavailable|mailbox not available`,
  String.raw`5\.4\.1[^\n]{0,20}recipient address(es)? rejected ?: access denied|name not found|couldn.t be found (at|by)`,
  String.raw`nobody (here )?(by|with) that|benutzer[^.;\n]{0,30}(unbekannt|existiert nicht|nicht gefunden)`,
  String.raw`empf[äa]nger[^.;\n]{0,40}(unbekannt|existiert nicht|nicht gefunden|ung[üu]ltig)`,
  String.raw`adresse[^.;\n]{0,40}(existiert nicht|nicht gefunden|wurde nicht gefunden|unbekannt|introuvable|` +
    "n['’]existe pas|invalide|inexistante)",
  String.raw`unbekannte[rsn]? (empf|benutz|adress)|utilisateur[^.;\n]{0,30}(inconnu|inexistant|introuvable)`,
  String.raw`destinataire[^.;\n]{0,40}(inconnu|introuvable|invalide|n['’]existe)`,
  String.raw`usuario[^.;\n]{0,30}(desconocido|no existe|inexistente)`,
  String.raw`direcci[óo]n[^.;\n]{0,50}(no existe|no (se )?encontr|inexistente)`,
  String.raw`no se (ha )?encontr[óoa]\w* (la direcci|el usuario|el destinatario)`,
  String.raw`destinatario[^.;\n]{0,30}(desconocido|inexistente|no existe|sconosciuto)`,
  String.raw`utente[^.;\n]{0,30}(sconosciuto|inesistente|non (trovato|esiste))`,
  String.raw`indirizzo[^.;\n]{0,40}(non (è stato )?trovato|inesistente|non esiste)`,
  String.raw`usu[áa]rio[^.;\n]{0,30}(desconhecido|inexistente|n[ãa]o (existe|encontrado))|utilizador desconhecido`,
  String.raw`endere[çc]o[^.;\n]{0,40}(n[ãa]o (foi )?encontrado|n[ãa]o existe|inexistente)|gebruiker[^.;\n]{0,20}onbekend`,
  String.raw`adres[^.;\n]{0,30}(niet gevonden|bestaat niet|onbekend|nie istnieje)|onbekende (gebruiker|ontvanger)`,
  "ok[äa]nd (anv[äa]ndare|mottagare)|ukendt (bruger|modtager)|ukjent (bruker|mottaker)",
  "adressen (hittades|finns) inte|tuntematon (k[äa]ytt[äa]j[äa]|vastaanottaja)",
  String.raw`u[żz]ytkownik[^.;\n]{0,30}(nieznany|nie istnieje)`,
  String.raw`nie (ma takiego|znaleziono)[^.;\n]{0,20}(u[żz]ytkownika|adresu)`,
  String.raw`пользовател[ья][^.\n]{0,40}не (найден|существует|зарегистрирован)`,
  String.raw`адрес[^.\n]{0,60}не (найден|существует|зарегистрирован)|получател[ья][^.\n]{0,40}не (найден|существует)`,
  String.raw`нет такого (пользователя|адреса|почтового ящика)|неизвестн\w+ (пользовател|получател|адрес)|несуществующ`,
  String.raw`宛先(不明|が?(存在|見つか))|あて先[^。\n]{0,30}(見つかり|不明|存在しま)|(メール)?アドレス[^。\n]{0,20}(見つかりません|存在しません|間違)`,
  String.raw`ユーザー?[^。\n]{0,12}(不明|見つかりません|存在しません)|用户不存在|用戶不存在|收件人[^。\n]{0,20}不存在|找不到[^。\n]{0,12}(用户|收件人|地址|邮箱)`,
  "(无|無|查无)此(用户|用戶|人)|(邮箱|郵箱|信箱|帐号|账号|地址)不存在",
);

const END = String.raw`(?=\s*$|\s*[:：\-–—(\]】]|\s+(re|aw|sv|tr|ynt|odp|vs)\b\s*:)`;

/** How responders of many languages begin a subject; a phrase that people use too must stand alone or before a colon. */
export const AUTO_SUBJECTS = [
  String.raw`\[?(auto(matic)?[\s-]?(reply|response|responder|antwort)|autoreply|automated (reply|response)|auto)\]?${END}`,
  `(i am |i'm |currently )?(out of (the )?office|away from (the |my )?(office|desk|e-?mail)|on (annual |parental |maternity |sick )?(leave|vacation|holiday)|vacation (reply|message|notice|response)|ooo)( auto-?reply| autoreply| reply| notification| message)?${END}`,
  `out of office (auto-?reply|autoreply|reply|message|notification)`,
  `(automatische (antwort|r[üu]ckantwort)|abwesenheits(notiz|nachricht|meldung|assistent|agent)|abwesend|abwesenheit|nicht im b[üu]ro|au[ßs]er haus|urlaub)${END}`,
  `(r[ée]ponse automatique|absent(e)? du bureau|absence du bureau|message d['’]absence|notification d['’]absence|en (cong[ée]s?|vacances))${END}`,
  `(respuesta autom[áa]tica|fuera de (la )?oficina|ausente de la oficina|mensaje de ausencia|de vacaciones)${END}`,
  `(resposta autom[áa]tica|fora do escrit[óo]rio|ausente do escrit[óo]rio|mensagem de aus[êe]ncia|aus[êe]ncia|de f[ée]rias)${END}`,
  `(risposta automatica|fuori (sede|ufficio)|assente dall['’]ufficio|messaggio di assenza|in ferie)${END}`,
  `(automatisch antwoord|afwezig(heids(bericht|melding))?|niet (op kantoor|aanwezig)|met vakantie)${END}`,
  `(autosvar|automatiskt? svar|fr[åa]nvaro(meddelande)?|frav[æa]r(smelding|sbesked)?|ikke (til stede|p[åa] kontoret)|p[åa] semester|inte p[åa] kontoret)${END}`,
  `(automaattinen vastaus|poissa(olo(viesti|ilmoitus)?)?( toimistosta)?|lomalla)${END}`,
  `(odpowied[źz] automatyczna|automatyczna odpowied[źz]|poza biurem|nieobecno[śs][ćc]|autoodpowied[źz])${END}`,
  `(автоматический ответ|автоответ(чик)?|вне офиса|нет на рабочем месте|отсутствие|отпуск)${END}`,
  String.raw`[【\[]?(自動応答|自動返信|自動返答|不在(通知|のお知らせ|連絡)?|自动回复|自动答复|自動回覆|自動答覆|外出(回复|自动回复)?)`,
].map((source) => new RegExp(`^\\s*${source}`, "i"));

/** Where each statement of a script starts and ends; semicolons in quotes, dollar quotes and comments do not count. */
export function splitSql(text: string): { from: number; to: number }[] {
  const statements: { from: number; to: number }[] = [];
  const token = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|(\$(?:[a-z_]\w*)?\$)[\s\S]*?\1|;/gi;
  let from = 0;
  const push = (to: number) => {
    const code = text.slice(from, to).replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, "");
    if (code.trim()) statements.push({ from, to });
    from = to + 1;
  };
  for (const match of text.matchAll(token)) if (match[0] === ";") push(match.index);
  push(text.length);
  return statements;
}

import type { Plugin } from "vite";

/**
 * Tests load the Worker module by module, and what two requests import at once they would share: the one whose caller
 * went away takes the other along. A built Worker is one file and has no such wait, so tests import everything first.
 */
export function eagerImports(): Plugin {
  return {
    name: "eager-imports",
    enforce: "pre",
    transform(code, id) {
      if (!/\/(src|durable-objects)\/[^?]*\.tsx?$/.test(id)) return;
      const names = new Map<string, string>();
      const changed = code.replace(/(?<!typeof )\bimport\("(\.[^"]+)"\)/g, (_, from: string) => {
        names.set(from, names.get(from) ?? `eager_${names.size}`);
        return `Promise.resolve(${names.get(from)})`;
      });
      if (names.size === 0) return;
      const imports = [...names].map(([from, name]) => `import * as ${name} from "${from}";`);
      return { code: `${changed}\n${imports.join("\n")}\n`, map: null };
    },
  };
}

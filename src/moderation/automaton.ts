/** One pattern of symbols: words, or the code units of a text. */
export type Pattern<S> = { symbols: readonly S[]; list: number };

type Out = { list: number; length: number };
type Node<S> = { next: Map<S, Node<S>>; fail: Node<S> | null; out: Out[] };
export type Automaton<S> = Node<S>;

const NONE: Out[] = [];
const newNode = <S>(): Node<S> => ({ next: new Map(), fail: null, out: NONE });

/** Aho and Corasick: whatever the patterns, a text is read once. */
export function newAutomaton<S>(patterns: readonly Pattern<S>[]): Automaton<S> {
  const root = newNode<S>();
  for (const { symbols, list } of patterns) {
    let node = root;
    for (const symbol of symbols) {
      let next = node.next.get(symbol);
      if (!next) {
        next = newNode();
        node.next.set(symbol, next);
      }
      node = next;
    }
    if (!node.out.some((own) => own.list === list)) node.out = [...node.out, { list, length: symbols.length }];
  }
  const queue = [root];
  for (let node = queue.pop(), at = 0; node; node = queue[at++]) {
    for (const [symbol, next] of node.next) {
      next.fail = node === root ? root : step(root, node.fail ?? root, symbol);
      // The longest pattern of each list is enough: it covers the others that end here.
      const inherited = next.fail.out.filter(({ list }) => !next.out.some((own) => own.list === list));
      if (inherited.length > 0) next.out = next.out.length > 0 ? [...next.out, ...inherited] : next.fail.out;
      queue.push(next);
    }
  }
  return root;
}

function step<S>(root: Node<S>, from: Node<S>, symbol: S): Node<S> {
  for (let node: Node<S> | null = from; node; node = node.fail) {
    const next = node.next.get(symbol);
    if (next) return next;
  }
  return root;
}

/** Tells of each place where patterns of a list end, and of the longest one's beginning. */
export function scan<S>(
  root: Automaton<S>,
  length: number,
  symbolAt: (place: number) => S,
  tell: (list: number, from: number, to: number) => void,
): void {
  let node = root;
  for (let i = 0; i < length; i++) {
    node = step(root, node, symbolAt(i));
    for (const { list, length: long } of node.out) tell(list, i + 1 - long, i + 1);
  }
}

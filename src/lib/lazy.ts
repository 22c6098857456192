import { DurableObject } from "cloudflare:workers";

/** A function whose module is evaluated with its first call. */
export function lazily<A extends unknown[], R>(load: () => Promise<(...args: A) => Promise<R>>) {
  let loaded: ReturnType<typeof load> | undefined;
  return async (...args: A): Promise<R> => {
    loaded ??= load();
    return (await loaded)(...args);
  };
}

type ObjectClass<T> = new (ctx: DurableObjectState, env: Env) => T;
type CallsOf<T> = Exclude<
  { [K in keyof T]-?: T[K] extends (...args: never[]) => unknown ? K : never }[keyof T],
  Handler
>;
type Handler = keyof DurableObject;
type Callable = Record<PropertyKey, (...args: unknown[]) => unknown>;

const HANDLERS = ["fetch", "alarm", "webSocketMessage", "webSocketClose", "webSocketError"] satisfies Handler[];

/** A Durable Object's class that start-up can export, while the code behind it is evaluated for its first object. */
export function lazyObject<T extends DurableObject<Env>>(
  load: () => Promise<ObjectClass<T>>,
  calls: Record<CallsOf<T>, true>,
): ObjectClass<T> {
  class Lazy extends DurableObject<Env> {
    private object!: Callable;

    constructor(ctx: DurableObjectState, env: Env) {
      super(ctx, env);
      ctx.blockConcurrencyWhile(async () => {
        this.object = new (await load())(ctx, env) as unknown as Callable;
      });
    }

    static {
      for (const name of [...HANDLERS, ...Object.keys(calls)]) {
        Object.defineProperty(Lazy.prototype, name, {
          value(this: Lazy, ...args: unknown[]) {
            return this.object[name]!(...args);
          },
        });
      }
    }
  }
  return Lazy as unknown as ObjectClass<T>;
}

export const LIST_KINDS = ["word", "phrase", "domain", "ip"] as const;
export const LIST_ACTIONS = ["block", "hold", "mask"] as const;
export type ListKind = (typeof LIST_KINDS)[number];
export type ListAction = (typeof LIST_ACTIONS)[number];

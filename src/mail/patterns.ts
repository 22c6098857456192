/** One pattern of many; each line of it may hold several. Given in lower case, as the texts are before they are read. */
export const any = (...patterns: string[]): RegExp => new RegExp(patterns.join("|"));

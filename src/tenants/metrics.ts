/**
 * All that is counted and can be limited, in one place.
 * standing: held now, kept by triggers · monthly: used since the month began · rate: per minute.
 */
export const METRICS = {
  users: "standing",
  teams: "standing",
  channels: "standing",
  webhooks: "standing",
  integrations: "standing",
  inboxes: "standing",
  contacts: "standing",
  storageBytes: "standing",
  apiRequests: "monthly",
  messages: "monthly",
  events: "monthly",
  emailDeliveries: "monthly",
  smsDeliveries: "monthly",
  pushDeliveries: "monthly",
  webhookDeliveries: "monthly",
  requestsPerMinute: "rate",
} as const;

export type Metric = keyof typeof METRICS;
export const METRIC_NAMES = Object.keys(METRICS) as [Metric, ...Metric[]];

/** Limits of a plan on what is not added up. */
export const OTHER_LIMITS = ["userRequestsPerMinute", "fileBytes", "eventDays", "auditDays"] as const;

export type Limits = Partial<Record<Metric | (typeof OTHER_LIMITS)[number], number>>;

/** What holds where the plan is silent; a metric named in neither place is not limited. */
export const DEFAULT_LIMITS = {
  requestsPerMinute: 6000,
  userRequestsPerMinute: 1200,
  fileBytes: 104_857_600,
  eventDays: 30,
  auditDays: 90,
} satisfies Limits;

import { Page } from "../lib/pages";
import type { listAttempts, listDeliveries } from "./log";
import type { PortalEdit } from "./portal";
import { DELIVERY_STATUSES } from "./schema";
import type { getWebhook } from "./service";

type Delivery = Awaited<ReturnType<typeof listDeliveries>>["data"][number];
type Attempt = Awaited<ReturnType<typeof listAttempts>>["data"][number];
type Hook = Awaited<ReturnType<typeof getWebhook>>;

const Status = ({ of }: { of: string }) => <span class={`status ${of}`}>{of}</span>;
const Time = ({ at }: { at: string }) => <time datetime={at}>{at.replace("T", " ").slice(0, 19)} UTC</time>;

type Listed = {
  hook: Hook;
  rows: Delivery[];
  next: string | null;
  base: string;
  status: string;
  type: string;
  editable: boolean;
};

export const Deliveries = ({ hook, rows, next, base, status, type, editable }: Listed) => (
  <Page title={`Deliveries to ${hook.name}`}>
    <h1>Deliveries to {hook.name}</h1>
    <p>
      <code>{hook.url}</code> <Status of={hook.status} />
    </p>
    {editable && (
      <p>
        <a href={`${base}/settings`}>Settings</a>
      </p>
    )}
    <form method="get" action={base}>
      <label>
        Status
        <select name="status">
          <option value="">all</option>
          {DELIVERY_STATUSES.map((one) => (
            <option value={one} selected={one === status}>
              {one}
            </option>
          ))}
        </select>
      </label>
      <label>
        Event type
        <input name="type" value={type} maxlength={100} />
      </label>
      <button type="submit">Filter</button>
    </form>
    {rows.length === 0 ? (
      <p>There are no deliveries{status || type ? " like this" : " yet"}.</p>
    ) : (
      <table>
        <thead>
          <tr>
            <th scope="col">Event</th>
            <th scope="col">Status</th>
            <th scope="col">Attempts</th>
            <th scope="col">Created</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr>
              <td data-label="Event">
                <a href={`${base}/deliveries/${row.id}`}>{row.eventType}</a>
              </td>
              <td data-label="Status">
                <Status of={row.status} />
              </td>
              <td data-label="Attempts">{row.attempts}</td>
              <td data-label="Created">
                <Time at={row.createdAt} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    )}
    {next && (
      <p>
        <a href={`${base}?${new URLSearchParams({ status, type, cursor: next })}`}>Older deliveries</a>
      </p>
    )}
  </Page>
);

type Inspected = { delivery: Delivery & { payload: unknown }; attempts: Attempt[]; base: string };

export const OneDelivery = ({ delivery, attempts, base }: Inspected) => (
  <Page title={`${delivery.eventType} delivery`}>
    <nav aria-label="Breadcrumb">
      <a href={base}>All deliveries</a>
    </nav>
    <h1>{delivery.eventType}</h1>
    <dl>
      <dt>Status</dt>
      <dd>
        <Status of={delivery.status} />
      </dd>
      <dt>webhook-id</dt>
      <dd>
        <code>{delivery.eventId}</code>
      </dd>
      <dt>{delivery.status === "pending" ? "Next attempt" : "Created"}</dt>
      <dd>
        <Time at={delivery.status === "pending" ? delivery.nextAttemptAt : delivery.createdAt} />
      </dd>
    </dl>
    <form method="post" action={`${base}/deliveries/${delivery.id}/redeliver`}>
      <button type="submit">Deliver again</button>
    </form>
    <h2>Payload</h2>
    <section class="code" tabindex={0} aria-label="Payload">
      <pre>{JSON.stringify(delivery.payload, null, 2)}</pre>
    </section>
    <h2>Attempts</h2>
    {attempts.length === 0 && <p>Nothing has been sent yet.</p>}
    {attempts.map((attempt) => (
      <section aria-label={`Attempt at ${attempt.createdAt}`}>
        <h3>
          <Status of={attempt.ok ? "delivered" : "failed"} /> <Time at={attempt.createdAt} />
        </h3>
        <dl>
          <dt>Answer</dt>
          <dd>{attempt.status ?? `none (${attempt.error})`}</dd>
          <dt>Took</dt>
          <dd>{attempt.ms} ms</dd>
          <dt>Because of</dt>
          <dd>{attempt.trigger}</dd>
        </dl>
        {attempt.responseBody && (
          <section class="code" tabindex={0} aria-label={`Answer at ${attempt.createdAt}`}>
            <pre>{attempt.responseBody}</pre>
          </section>
        )}
      </section>
    ))}
  </Page>
);

type Choice = { name: string; description: string };
type Editing = {
  hook: Hook;
  base: string;
  allow: readonly PortalEdit[];
  choices: Map<string, Choice[]>;
  /** What was wrong with what was sent. */
  fault?: string;
  url?: string;
};

const Choose = ({ name, description, chosen }: Choice & { chosen: boolean }) => (
  <label class="choice">
    <input type="checkbox" name="events" value={name} checked={chosen} />
    <span>
      <code>{name}</code> {description}
    </span>
  </label>
);

export const Settings = ({ hook, base, allow, choices, fault, url = hook.url }: Editing) => (
  <Page title={`Settings of ${hook.name}`}>
    <nav aria-label="Breadcrumb">
      <a href={base}>All deliveries</a>
    </nav>
    <h1>Settings of {hook.name}</h1>
    {fault && (
      <p class="note" role="alert">
        {fault}
      </p>
    )}
    {(allow.includes("url") || allow.includes("events")) && (
      <form class="wide" method="post" action={`${base}/settings`}>
        {allow.includes("url") && (
          <label>
            URL
            <input type="url" name="url" value={url} required maxlength={2048} autocomplete="off" />
          </label>
        )}
        {allow.includes("events") && (
          <>
            <h2>Events</h2>
            <Choose name="*" description="Everything but typing and presence" chosen={hook.events.includes("*")} />
            {[...choices].map(([category, types]) => (
              <fieldset>
                <legend>{category}</legend>
                <Choose
                  name={`${category}.*`}
                  description="All of them, later ones too"
                  chosen={hook.events.includes(`${category}.*`)}
                />
                {types.map((type) => (
                  <Choose {...type} chosen={hook.events.includes(type.name)} />
                ))}
              </fieldset>
            ))}
          </>
        )}
        <button type="submit">Save</button>
      </form>
    )}
    {allow.includes("secret") && (
      <section aria-label="Secret">
        <h2>Secret</h2>
        <p>A new secret is shown once. For a day deliveries are signed with the old one too.</p>
        <form method="post" action={`${base}/secret`}>
          <button type="submit">Make a new secret</button>
        </form>
      </section>
    )}
  </Page>
);

export const NewSecret = ({ hook, base, secret }: { hook: Hook; base: string; secret: string }) => (
  <Page title={`New secret of ${hook.name}`}>
    <nav aria-label="Breadcrumb">
      <a href={`${base}/settings`}>Settings</a>
    </nav>
    <h1>New secret of {hook.name}</h1>
    <p>Copy it now: it is not shown again.</p>
    <p class="note">
      <code>{secret}</code>
    </p>
  </Page>
);

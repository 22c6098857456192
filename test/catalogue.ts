import { inject } from "vitest";
import { asOwner } from "./setup/owner";

/** A test database on a shared server gives its roles names of their own. */
export const APP = new URL(inject("appDatabaseUrl").replace("postgresql:", "http:")).username;
export const DOOR = APP.replace("parley_app", "parley_door");

/** Of the deployment, or counted by triggers: these have policies of their own. */
const SHARED: Record<string, string[]> = {
  tenants: [
    ...removal("id", "DELETE"),
    `wall ${APP} ALL using ((id = ( SELECT current_tenant() AS current_tenant)) OR ( SELECT is_deployment() AS is_deployment)) check ((id = ( SELECT current_tenant() AS current_tenant)) OR ( SELECT is_deployment() AS is_deployment))`,
  ],
  usage_totals: [...tenants(), ...removal("tenant_id", "UPDATE")],
  plans: [
    `wall ${APP} SELECT using (( SELECT current_tenant() AS current_tenant) IS NOT NULL)`,
    `wall_write ${APP} ALL using ( SELECT is_deployment() AS is_deployment) check ( SELECT is_deployment() AS is_deployment)`,
  ],
};
function tenants(): string[] {
  const mine = "(tenant_id = ( SELECT current_tenant() AS current_tenant))";
  return [`wall ${APP} ALL using ${mine} check ${mine}`, ...removal("tenant_id", "SELECT", "DELETE")];
}

/** What lets the doors remove the one tenant that is under removal. */
function removal(column: string, ...commands: string[]): string[] {
  return commands.map(
    (command) => `removal ${DOOR} ${command} using (${column} = ( SELECT removed_tenant() AS removed_tenant))`,
  );
}

/** Which commands it opens all rows to is held against what the doors do, by doors.ts. */
const DOORS_POLICY = new RegExp(`^door ${DOOR} (SELECT|INSERT|UPDATE|DELETE)( using true)?( check true)?$`);

/** Columns whose values a tenant, a standard or a registry in code adds to, without a migration. */
const OPEN_VOCABULARIES = [
  "api_key_resources.kind",
  "audit_logs.target_type",
  "campaigns.channel_type",
  "channels.type",
  "domain_identities.provider",
  "events.type",
  "files.content_type",
  "integrations.provider",
  "message_attachments.mime_type",
  "scheduled_jobs.type",
  "webhook_attempts.event_type",
];
const CHOICE = "(^|_)(status|state|kind|type|role|mode|medium|direction|platform|provider|algorithm|trigger|outcome)$";

const TABLES = `select c.oid, c.relname::text as name, c.relrowsecurity and c.relforcerowsecurity as walled, r.rolname::text as owner,
    exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and a.attnotnull and not a.attisdropped) as tenant
  from pg_class c join pg_roles r on r.oid = c.relowner
  where c.relnamespace = $1::regnamespace and c.relkind in ('r', 'p') and c.relname not like 'parley\\_%'`;

type Table = { name: string; walled: boolean; owner: string; tenant: boolean };

/** Whatever in this schema lies open to another tenant, or would cost a tenant's deletion dearly. */
export async function violations(schema: string): Promise<string[]> {
  const [tables, policies, ...others] = await Promise.all([
    asOwner<Table>(TABLES, [schema]),
    asOwner<{ on: string; text: string }>(POLICIES, [schema]),
    listed(FOREIGN_KEYS, schema),
    listed(CHOICES, schema, CHOICE, OPEN_VOCABULARIES),
    listed(VIEWS, schema),
  ]);
  const ofTable = (name: string) => policies.filter(({ on }) => on === name).map(({ text }) => text);
  return [
    ...tables
      .filter(({ walled }) => !walled)
      .map(({ name }) => `${name}: row-level security is not enabled and forced`),
    ...tables
      .filter(({ name, tenant }) => !tenant && !(name in SHARED))
      .map(({ name }) => `${name}: there is no tenant_id that is not null`),
    ...tables.flatMap(({ name, owner }) => {
      const expected = [...(SHARED[name] ?? tenants()), `keeper ${owner} ALL using true check true`];
      const found = ofTable(name).filter((text) => !DOORS_POLICY.test(text));
      return [
        ...expected.filter((text) => !found.includes(text)).map((text) => `${name}: lacks the policy ${text}`),
        ...found.filter((text) => !expected.includes(text)).map((text) => `${name}: has the policy ${text}`),
      ];
    }),
    ...others.flat(),
  ];
}

async function listed(query: string, ...params: unknown[]): Promise<string[]> {
  return (await asOwner<{ violation: string }>(query, params)).map(({ violation }) => violation);
}

const POLICIES = `select tablename::text as on, concat_ws(' ', case when policyname ~ '^(door|removal)(_|$)' then split_part(policyname, '_', 1) else policyname end,
    array_to_string(roles, ','), case permissive when 'RESTRICTIVE' then 'restrictive' end, cmd, 'using ' || qual, 'check ' || with_check) as text
  from pg_policies where schemaname = $1 order by 1, 2`;

/** A key of a tenant's table leads with its tenant, says what a deletion does, and is found by an index. */
const FOREIGN_KEYS = `with k as (
    select f.*, f.conrelid::regclass::text || ': ' || pg_get_constraintdef(f.oid) as name,
      (select array_agg(a.attname::text order by n) from unnest(f.conkey) with ordinality u(c, n)
         join pg_attribute a on a.attrelid = f.conrelid and a.attnum = u.c) as own,
      (select array_agg(a.attname::text order by n) from unnest(f.confkey) with ordinality u(c, n)
         join pg_attribute a on a.attrelid = f.confrelid and a.attnum = u.c) as theirs,
      exists (select 1 from pg_attribute a where a.attrelid = f.confrelid and a.attname = 'tenant_id') as to_tenant_table,
      exists (select 1 from pg_attribute a where a.attrelid = f.conrelid and a.attname = 'tenant_id') as from_tenant_table,
      exists (select 1 from unnest(f.confdelsetcols) c join pg_attribute a on a.attrelid = f.conrelid and a.attnum = c
        where a.attname = 'tenant_id') as unsets_tenant
    from pg_constraint f where f.contype = 'f' and f.connamespace = $1::regnamespace)
  select name || why as violation from k, lateral (values
    (to_tenant_table and not (own[1] = 'tenant_id' and theirs[1] = 'tenant_id' and cardinality(own) > 1), ' does not lead with tenant_id'),
    (not to_tenant_table and from_tenant_table and not (own = '{tenant_id}' and confrelid = to_regclass('public.tenants')),
      ' leads out of the tenant'),
    (confdeltype = 'a', ' states no ON DELETE'),
    (confdeltype in ('n', 'd') and (coalesce(cardinality(confdelsetcols), 0) = 0 or unsets_tenant), ' would unset tenant_id'),
    (not convalidated, ' is not validated'),
    (not exists (select 1 from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
       where i.indrelid = conrelid and m.amname = 'btree' and i.indisvalid
         and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = any (select format('(%s IS NOT NULL)', column_name) from unnest(own) column_name))
         and (i.indkey::int2[])[0:cardinality(conkey) - 1] @> conkey), ' has no index on its columns')) judged(wrong, why)
  where wrong order by 1`;

const CHOICES = `select a.attrelid::regclass::text || '.' || a.attname || ' has no CHECK of its values' as violation
  from pg_attribute a join pg_class c on c.oid = a.attrelid
  where c.relnamespace = $1::regnamespace and c.relkind in ('r', 'p') and c.relname not like 'parley\\_%'
    and a.atttypid = 'text'::regtype and a.attnum > 0 and not a.attisdropped and a.attname ~ $2
    and c.relname || '.' || a.attname <> all ($3)
    and not exists (select 1 from pg_constraint k where k.conrelid = a.attrelid and k.contype = 'c' and k.conkey = array[a.attnum]
      and pg_get_constraintdef(k.oid) ~ '= ANY \\(|= ''')
  order by 1`;

/** A view reads with its owner's rights, and the owner may look across the wall. */
const VIEWS = `select relname || ' is a view' as violation from pg_class
  where relnamespace = $1::regnamespace and relkind in ('v', 'm', 'f') order by 1`;

/** Whatever would let the Worker's role do more than use the tables it was given. */
export const roleViolations = () =>
  listed(
    `with app as (select * from pg_roles where rolname = $1), door as (select * from pg_roles where rolname = $2)
    select rolname || ' ' || why as violation from app, lateral (values
      (rolsuper, 'is a superuser'), (rolbypassrls, 'has BYPASSRLS'), (rolcreaterole, 'may create roles'),
      (rolcreatedb, 'may create databases'), (rolreplication, 'may replicate'), (not rolcanlogin, 'may not log in'),
      (has_database_privilege(rolname, current_database(), 'create'), 'may create schemas')) x(wrong, why) where wrong
    union all select rolname || ' ' || why from door, lateral (values
      (rolsuper, 'is a superuser'), (rolbypassrls, 'has BYPASSRLS'), (rolcanlogin, 'may log in'), (rolcreaterole, 'may create roles'),
      (has_database_privilege(rolname, current_database(), 'create'), 'may create schemas')) x(wrong, why) where wrong
    union all select m.member::regrole || ' is a member of ' || m.roleid::regrole from pg_auth_members m
      where m.member in (select oid from app union all select oid from door)
    union all select $1 || ' may create in ' || nspname from pg_namespace where nspname !~ '^pg_temp' and has_schema_privilege($1, oid, 'create')
    union all select $2 || ' may create in ' || nspname from pg_namespace where nspname <> 'door' and nspname !~ '^pg_temp' and has_schema_privilege($2, oid, 'create')
    union all select $1 || ' owns ' || pg_describe_object(classid, objid, objsubid) from pg_shdepend
      where refobjid = (select oid from app) and deptype = 'o' and dbid in (select 0 union select oid from pg_database where datname = current_database())
    union all select $2 || ' owns ' || pg_describe_object(d.classid, d.objid, d.objsubid) from pg_shdepend d
      where d.refobjid = (select oid from door) and d.deptype = 'o'
        and d.dbid in (select 0 union select oid from pg_database where datname = current_database()) and not (d.classid = 'pg_proc'::regclass
        and d.objid in (select oid from pg_proc where pronamespace = 'door'::regnamespace))
    union all select grantee::regrole || ' may ' || privilege_type || ' ' || relname from pg_class c, aclexplode(c.relacl)
      where grantee in (0, (select oid from app), (select oid from door)) and c.relnamespace = 'public'::regnamespace
        and (grantee = 0 or privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE') or is_grantable
          or (relname like 'parley\\_%' and relname || privilege_type <> 'parley_releaseSELECT'))`,
    APP,
    DOOR,
  );

/** Each function that runs with another's rights is a door, and each door is shut to all but the Worker. */
export const functionViolations = (schema: string) =>
  listed(
    `select p.oid::regprocedure || ' ' || why as violation from pg_proc p join pg_roles o on o.oid = p.proowner, lateral (values
      (o.rolname <> $2, 'belongs to ' || o.rolname),
      (not p.prosecdef, 'is no SECURITY DEFINER'),
      (not coalesce(p.proconfig @> '{"search_path=pg_catalog, public, pg_temp"}', false), 'does not pin its search_path'),
      (p.proacl is null or exists (select 1 from aclexplode(p.proacl) g where g.grantee not in ($1::regrole, $2::regrole) or g.is_grantable
          and g.grantee <> p.proowner), 'may be called by others')) x(wrong, why)
    where p.pronamespace = $3::regnamespace and wrong
    union all select p.oid::regprocedure || ' is a SECURITY DEFINER outside of door' from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace
    where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema', 'door', $3::text)
    order by 1`,
    APP,
    DOOR,
    schema,
  );

CREATE TABLE "contact_identities" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"contact_id" uuid NOT NULL,
	"medium" text NOT NULL,
	"value" text NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "contact_identities_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "contact_identities_medium" CHECK ("contact_identities"."medium" in ('chat', 'email', 'sms', 'whatsapp', 'twitter', 'facebook', 'instagram', 'linkedin', 'custom'))
);
--> statement-breakpoint
CREATE TABLE "contacts" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"display_name" text,
	"avatar_url" text,
	"metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "contacts_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
CREATE TABLE "auto_replies" (
	"tenant_id" uuid NOT NULL,
	"inbox_id" uuid NOT NULL,
	"address" text NOT NULL,
	"replied_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "auto_replies_tenant_id_inbox_id_address_pk" PRIMARY KEY("tenant_id","inbox_id","address")
);
--> statement-breakpoint
CREATE TABLE "emails" (
	"tenant_id" uuid NOT NULL,
	"message_id" uuid NOT NULL,
	"inbox_id" uuid NOT NULL,
	"rfc_id" text NOT NULL,
	"fingerprint" text NOT NULL,
	"subject" text DEFAULT '' NOT NULL,
	"text" text,
	"html" text,
	"sent_at" timestamptz,
	"envelope_from" text,
	"envelope_to" text,
	"tag" text,
	"raw_key" text,
	"raw_size" integer,
	"verdicts" jsonb,
	"authenticated" boolean DEFAULT false NOT NULL,
	"auto_reply" boolean DEFAULT false NOT NULL,
	"bounce" boolean DEFAULT false NOT NULL,
	"list" boolean DEFAULT false NOT NULL,
	"spam" boolean DEFAULT false NOT NULL,
	"id_reused" boolean DEFAULT false NOT NULL,
	"why" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "emails_tenant_id_message_id_pk" PRIMARY KEY("tenant_id","message_id")
);
--> statement-breakpoint
CREATE TABLE "inbound_raw" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"inbox_id" uuid NOT NULL,
	"source" text NOT NULL,
	"envelope_from" text NOT NULL,
	"envelope_to" text NOT NULL,
	"tag" text,
	"route" text NOT NULL,
	"size" integer NOT NULL,
	"sha256" text NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"error" text,
	"message_id" uuid,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamptz DEFAULT now() NOT NULL,
	"claimed_until" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"finished_at" timestamptz,
	CONSTRAINT "inbound_raw_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "inbound_raw_source" CHECK ("inbound_raw"."source" in ('smtp', 'http', 'ses')),
	CONSTRAINT "inbound_raw_status" CHECK ("inbound_raw"."status" in ('pending', 'recorded', 'duplicate', 'blocked', 'looping', 'failed'))
);
--> statement-breakpoint
CREATE TABLE "message_recipients" (
	"tenant_id" uuid NOT NULL,
	"message_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"kind" text NOT NULL,
	"position" integer NOT NULL,
	"address" text NOT NULL,
	"name" text,
	CONSTRAINT "message_recipients_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "message_recipients_kind" CHECK ("message_recipients"."kind" in ('from', 'sender', 'to', 'cc', 'bcc', 'reply_to'))
);
--> statement-breakpoint
CREATE TABLE "message_references" (
	"tenant_id" uuid NOT NULL,
	"message_id" uuid NOT NULL,
	"inbox_id" uuid NOT NULL,
	"referenced_id" text NOT NULL,
	"kind" text NOT NULL,
	"position" integer DEFAULT 0 NOT NULL,
	CONSTRAINT "message_references_tenant_id_message_id_referenced_id_pk" PRIMARY KEY("tenant_id","message_id","referenced_id"),
	CONSTRAINT "message_references_kind" CHECK ("message_references"."kind" in ('own', 'provider', 'token', 'in_reply_to', 'reference', 'returned'))
);
--> statement-breakpoint
CREATE TABLE "domain_identities" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"domain_id" uuid NOT NULL,
	"integration_id" uuid,
	"provider" text NOT NULL,
	"reference" text NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "domain_identities_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
CREATE TABLE "domain_records" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"domain_id" uuid NOT NULL,
	"purpose" text NOT NULL,
	"type" text NOT NULL,
	"name" text NOT NULL,
	"expected" text NOT NULL,
	"priority" integer,
	"found" text[] DEFAULT '{}' NOT NULL,
	"ok" boolean DEFAULT false NOT NULL,
	"todo" text,
	CONSTRAINT "domain_records_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "domain_records_purpose" CHECK ("domain_records"."purpose" in ('proof', 'mx', 'spf', 'dkim', 'dmarc')),
	CONSTRAINT "domain_records_type" CHECK ("domain_records"."type" in ('TXT', 'MX', 'CNAME'))
);
--> statement-breakpoint
CREATE TABLE "domains" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"from_name" text,
	"reply_to" text,
	"bounce_address" text,
	"inbound_topic" text,
	"checked_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	"deleted_at" timestamptz,
	CONSTRAINT "domains_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "domains_status" CHECK ("domains"."status" in ('pending', 'verified', 'lost'))
);
--> statement-breakpoint
CREATE TABLE "inbox_members" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"inbox_id" uuid NOT NULL,
	"user_id" uuid,
	"team_id" uuid,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "inbox_members_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "inbox_members_somebody" CHECK ("inbox_members"."user_id" is not null or "inbox_members"."team_id" is not null)
);
--> statement-breakpoint
CREATE TABLE "inboxes" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"domain_id" uuid NOT NULL,
	"local_part" text NOT NULL,
	"name" text,
	"is_catchall" boolean DEFAULT false NOT NULL,
	"plus_addressing" boolean DEFAULT true NOT NULL,
	"auto_reply_text" text,
	"auto_reply_subject" text,
	"auto_reply_hours" integer DEFAULT 96 NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	"deleted_at" timestamptz,
	CONSTRAINT "inboxes_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
CREATE TABLE "sender_rules" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"inbox_id" uuid,
	"pattern" text NOT NULL,
	"action" text NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "sender_rules_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "sender_rules_action" CHECK ("sender_rules"."action" in ('allow', 'block'))
);
--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "inbox_id" uuid;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "merged_into" uuid;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "trashed_at" timestamptz;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "contact_id" uuid;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "direction" text;--> statement-breakpoint
ALTER TABLE "contact_identities" ADD CONSTRAINT "contact_identities_contact_id_fk" FOREIGN KEY ("tenant_id","contact_id") REFERENCES "public"."contacts"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "contacts" ADD CONSTRAINT "contacts_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "auto_replies" ADD CONSTRAINT "auto_replies_inbox_id_fk" FOREIGN KEY ("tenant_id","inbox_id") REFERENCES "public"."inboxes"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "emails" ADD CONSTRAINT "emails_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "emails" ADD CONSTRAINT "emails_inbox_id_fk" FOREIGN KEY ("tenant_id","inbox_id") REFERENCES "public"."inboxes"("tenant_id","id") ON DELETE restrict ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "inbound_raw" ADD CONSTRAINT "inbound_raw_inbox_id_fk" FOREIGN KEY ("tenant_id","inbox_id") REFERENCES "public"."inboxes"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "inbound_raw" ADD CONSTRAINT "inbound_raw_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE set null ("message_id") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_recipients" ADD CONSTRAINT "message_recipients_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_references" ADD CONSTRAINT "message_references_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_references" ADD CONSTRAINT "message_references_inbox_id_fk" FOREIGN KEY ("tenant_id","inbox_id") REFERENCES "public"."inboxes"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "domain_identities" ADD CONSTRAINT "domain_identities_domain_id_fk" FOREIGN KEY ("tenant_id","domain_id") REFERENCES "public"."domains"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "domain_identities" ADD CONSTRAINT "domain_identities_integration_id_fk" FOREIGN KEY ("tenant_id","integration_id") REFERENCES "public"."integrations"("tenant_id","id") ON DELETE set null ("integration_id") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "domain_records" ADD CONSTRAINT "domain_records_domain_id_fk" FOREIGN KEY ("tenant_id","domain_id") REFERENCES "public"."domains"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "domains" ADD CONSTRAINT "domains_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "inbox_members" ADD CONSTRAINT "inbox_members_inbox_id_fk" FOREIGN KEY ("tenant_id","inbox_id") REFERENCES "public"."inboxes"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "inbox_members" ADD CONSTRAINT "inbox_members_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "inbox_members" ADD CONSTRAINT "inbox_members_team_id_fk" FOREIGN KEY ("tenant_id","team_id") REFERENCES "public"."teams"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "inboxes" ADD CONSTRAINT "inboxes_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "inboxes" ADD CONSTRAINT "inboxes_domain_id_fk" FOREIGN KEY ("tenant_id","domain_id") REFERENCES "public"."domains"("tenant_id","id") ON DELETE restrict ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sender_rules" ADD CONSTRAINT "sender_rules_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sender_rules" ADD CONSTRAINT "sender_rules_inbox_id_fk" FOREIGN KEY ("tenant_id","inbox_id") REFERENCES "public"."inboxes"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "contact_identities_by_value" ON "contact_identities" USING btree ("tenant_id","medium","value");--> statement-breakpoint
CREATE INDEX "contact_identities_by_contact" ON "contact_identities" USING btree ("tenant_id","contact_id");--> statement-breakpoint
CREATE INDEX "contacts_by_time" ON "contacts" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE UNIQUE INDEX "emails_by_rfc_id" ON "emails" USING btree ("tenant_id","inbox_id","rfc_id","fingerprint");--> statement-breakpoint
CREATE INDEX "inbound_raw_by_inbox" ON "inbound_raw" USING btree ("tenant_id","inbox_id","status","id");--> statement-breakpoint
CREATE INDEX "inbound_raw_by_message" ON "inbound_raw" USING btree ("tenant_id","message_id");--> statement-breakpoint
CREATE INDEX "inbound_raw_due" ON "inbound_raw" USING btree ("next_attempt_at") WHERE "inbound_raw"."status" = 'pending';--> statement-breakpoint
CREATE INDEX "message_recipients_by_message" ON "message_recipients" USING btree ("tenant_id","message_id","kind","position");--> statement-breakpoint
CREATE INDEX "message_recipients_by_address" ON "message_recipients" USING btree ("tenant_id","address","message_id");--> statement-breakpoint
CREATE INDEX "message_references_by_id" ON "message_references" USING btree ("tenant_id","inbox_id","referenced_id");--> statement-breakpoint
CREATE INDEX "domain_identities_by_domain" ON "domain_identities" USING btree ("tenant_id","domain_id");--> statement-breakpoint
CREATE INDEX "domain_identities_by_integration" ON "domain_identities" USING btree ("tenant_id","integration_id");--> statement-breakpoint
CREATE INDEX "domain_records_by_domain" ON "domain_records" USING btree ("tenant_id","domain_id","purpose");--> statement-breakpoint
CREATE UNIQUE INDEX "domains_by_name" ON "domains" USING btree ("tenant_id","name") WHERE "domains"."deleted_at" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "domains_verified_by_name" ON "domains" USING btree ("name") WHERE "domains"."status" = 'verified' and "domains"."deleted_at" is null;--> statement-breakpoint
CREATE INDEX "domains_by_topic" ON "domains" USING btree ("inbound_topic") WHERE "domains"."inbound_topic" is not null;--> statement-breakpoint
CREATE INDEX "domains_by_check" ON "domains" USING btree ("checked_at") WHERE "domains"."deleted_at" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "inbox_members_by_user_id" ON "inbox_members" USING btree ("tenant_id","inbox_id","user_id");--> statement-breakpoint
CREATE UNIQUE INDEX "inbox_members_by_team_id" ON "inbox_members" USING btree ("tenant_id","inbox_id","team_id");--> statement-breakpoint
CREATE INDEX "inbox_members_by_user" ON "inbox_members" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "inbox_members_by_team" ON "inbox_members" USING btree ("tenant_id","team_id");--> statement-breakpoint
CREATE UNIQUE INDEX "inboxes_by_local_part" ON "inboxes" USING btree ("tenant_id","domain_id","local_part") WHERE "inboxes"."deleted_at" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "inboxes_by_is_catchall" ON "inboxes" USING btree ("tenant_id","domain_id") WHERE "inboxes"."is_catchall" and "inboxes"."deleted_at" is null;--> statement-breakpoint
CREATE INDEX "inboxes_by_domain" ON "inboxes" USING btree ("tenant_id","domain_id");--> statement-breakpoint
CREATE UNIQUE INDEX "sender_rules_by_pattern" ON "sender_rules" USING btree ("tenant_id",coalesce("inbox_id", '00000000-0000-0000-0000-000000000000'),"pattern");--> statement-breakpoint
CREATE INDEX "sender_rules_by_inbox" ON "sender_rules" USING btree ("tenant_id","inbox_id");--> statement-breakpoint
ALTER TABLE "channels" ADD CONSTRAINT "channels_inbox_id_fk" FOREIGN KEY ("tenant_id","inbox_id") REFERENCES "public"."inboxes"("tenant_id","id") ON DELETE restrict ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channels" ADD CONSTRAINT "channels_merged_into_fk" FOREIGN KEY ("tenant_id","merged_into") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_contact_id_fk" FOREIGN KEY ("tenant_id","contact_id") REFERENCES "public"."contacts"("tenant_id","id") ON DELETE set null ("contact_id") ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "channels_by_inbox" ON "channels" USING btree ("tenant_id","inbox_id","id");--> statement-breakpoint
CREATE INDEX "channels_by_merged_into" ON "channels" USING btree ("tenant_id","merged_into");--> statement-breakpoint
CREATE INDEX "channels_trashed" ON "channels" USING btree ("tenant_id","trashed_at") WHERE "channels"."trashed_at" is not null;--> statement-breakpoint
CREATE INDEX "messages_by_contact" ON "messages" USING btree ("tenant_id","contact_id","created_at");--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_direction" CHECK ("messages"."direction" in ('inbound', 'outbound', 'internal'));
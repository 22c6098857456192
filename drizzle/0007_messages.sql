CREATE TABLE "message_drafts" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"channel_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"parent_id" uuid,
	"quoted_id" uuid,
	"text" text DEFAULT '' NOT NULL,
	"mentions" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"attachments" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "message_drafts_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "message_drafts_by_place" UNIQUE NULLS NOT DISTINCT("tenant_id","channel_id","user_id","parent_id")
);
--> statement-breakpoint
CREATE TABLE "thread_members" (
	"tenant_id" uuid NOT NULL,
	"parent_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"following" boolean DEFAULT true NOT NULL,
	"read_seq" bigint DEFAULT 0 NOT NULL,
	"read_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "thread_members_tenant_id_parent_id_user_id_pk" PRIMARY KEY("tenant_id","parent_id","user_id")
);
--> statement-breakpoint
CREATE TABLE "thread_reads" (
	"tenant_id" uuid NOT NULL,
	"parent_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"seq" bigint NOT NULL,
	"read_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "thread_reads_tenant_id_parent_id_user_id_seq_pk" PRIMARY KEY("tenant_id","parent_id","user_id","seq")
);
--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "deleted_at" timestamptz;--> statement-breakpoint
ALTER TABLE "message_attachments" ADD COLUMN "channel_id" uuid;--> statement-breakpoint
ALTER TABLE "message_edits" ADD COLUMN "attachments" jsonb DEFAULT '[]'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "message_edits" ADD COLUMN "mentions" jsonb DEFAULT '[]'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "message_mentions" ADD COLUMN "here" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "mentioning" text;--> statement-breakpoint
ALTER TABLE "message_drafts" ADD CONSTRAINT "message_drafts_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_drafts" ADD CONSTRAINT "message_drafts_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_drafts" ADD CONSTRAINT "message_drafts_parent_id_fk" FOREIGN KEY ("tenant_id","parent_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_drafts" ADD CONSTRAINT "message_drafts_quoted_id_fk" FOREIGN KEY ("tenant_id","quoted_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE set null ("quoted_id") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "thread_members" ADD CONSTRAINT "thread_members_parent_id_fk" FOREIGN KEY ("tenant_id","parent_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "thread_members" ADD CONSTRAINT "thread_members_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "thread_reads" ADD CONSTRAINT "thread_reads_parent_id_fk" FOREIGN KEY ("tenant_id","parent_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "thread_reads" ADD CONSTRAINT "thread_reads_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "message_drafts_by_user" ON "message_drafts" USING btree ("tenant_id","user_id","id");--> statement-breakpoint
CREATE INDEX "message_drafts_by_parent" ON "message_drafts" USING btree ("tenant_id","parent_id");--> statement-breakpoint
CREATE INDEX "message_drafts_by_quoted" ON "message_drafts" USING btree ("tenant_id","quoted_id");--> statement-breakpoint
CREATE INDEX "thread_members_by_user" ON "thread_members" USING btree ("tenant_id","user_id","parent_id");--> statement-breakpoint
CREATE INDEX "thread_reads_by_user" ON "thread_reads" USING btree ("tenant_id","user_id");--> statement-breakpoint
ALTER TABLE "message_attachments" ADD CONSTRAINT "message_attachments_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "message_attachments_by_channel" ON "message_attachments" USING btree ("tenant_id","channel_id","id");--> statement-breakpoint
CREATE INDEX "messages_mentioning_all" ON "messages" USING btree ("tenant_id","channel_id","ordinal") WHERE "messages"."mentioning" = 'channel';--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_mentioning" CHECK ("messages"."mentioning" in ('channel', 'here'));
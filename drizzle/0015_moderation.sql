CREATE TABLE "block_list_entries" (
	"tenant_id" uuid NOT NULL,
	"list_id" uuid NOT NULL,
	"key" text NOT NULL,
	"entry" text NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "block_list_entries_tenant_id_list_id_key_pk" PRIMARY KEY("tenant_id","list_id","key")
);
--> statement-breakpoint
CREATE TABLE "block_lists" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"kind" text NOT NULL,
	"action" text NOT NULL,
	"everywhere" boolean DEFAULT true NOT NULL,
	"active" boolean DEFAULT true NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "block_lists_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "block_lists_kind" CHECK ("block_lists"."kind" in ('word', 'phrase', 'domain', 'ip')),
	CONSTRAINT "block_lists_action" CHECK ("block_lists"."action" in ('block', 'hold', 'mask'))
);
--> statement-breakpoint
CREATE TABLE "flags" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"queue_id" uuid NOT NULL,
	"message_id" uuid,
	"user_id" uuid,
	"flagged_by" uuid,
	"reason" text NOT NULL,
	"details" text,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "flags_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
CREATE TABLE "moderation_queue" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"kind" text NOT NULL,
	"message_id" uuid,
	"user_id" uuid,
	"channel_id" uuid,
	"source" text NOT NULL,
	"reason" text,
	"change" jsonb,
	"status" text DEFAULT 'pending' NOT NULL,
	"reviewed_by" uuid,
	"reviewed_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "moderation_queue_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "moderation_queue_kind" CHECK ("moderation_queue"."kind" in ('message', 'user')),
	CONSTRAINT "moderation_queue_source" CHECK ("moderation_queue"."source" in ('flag', 'block_list', 'pending')),
	CONSTRAINT "moderation_queue_status" CHECK ("moderation_queue"."status" in ('pending', 'approved', 'rejected'))
);
--> statement-breakpoint
ALTER TABLE "tenants" ADD COLUMN "block_version" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "block_list_entries" ADD CONSTRAINT "block_list_entries_list_id_fk" FOREIGN KEY ("tenant_id","list_id") REFERENCES "public"."block_lists"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "block_lists" ADD CONSTRAINT "block_lists_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "flags" ADD CONSTRAINT "flags_queue_id_fk" FOREIGN KEY ("tenant_id","queue_id") REFERENCES "public"."moderation_queue"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "flags" ADD CONSTRAINT "flags_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "flags" ADD CONSTRAINT "flags_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "flags" ADD CONSTRAINT "flags_flagged_by_fk" FOREIGN KEY ("tenant_id","flagged_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "moderation_queue" ADD CONSTRAINT "moderation_queue_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "moderation_queue" ADD CONSTRAINT "moderation_queue_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "moderation_queue" ADD CONSTRAINT "moderation_queue_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "moderation_queue" ADD CONSTRAINT "moderation_queue_reviewed_by_fk" FOREIGN KEY ("tenant_id","reviewed_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE set null ("reviewed_by") ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "block_lists_by_name" ON "block_lists" USING btree ("tenant_id","name");--> statement-breakpoint
CREATE INDEX "flags_by_entry" ON "flags" USING btree ("tenant_id","queue_id");--> statement-breakpoint
CREATE UNIQUE INDEX "flags_by_message" ON "flags" USING btree ("tenant_id","message_id","flagged_by") WHERE "flags"."message_id" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "flags_by_user" ON "flags" USING btree ("tenant_id","user_id","flagged_by") WHERE "flags"."message_id" is null;--> statement-breakpoint
CREATE INDEX "flags_of_message" ON "flags" USING btree ("tenant_id","message_id");--> statement-breakpoint
CREATE INDEX "flags_of_user" ON "flags" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "flags_by_flagger" ON "flags" USING btree ("tenant_id","flagged_by");--> statement-breakpoint
CREATE INDEX "moderation_queue_by_status" ON "moderation_queue" USING btree ("tenant_id","status","created_at","id");--> statement-breakpoint
CREATE INDEX "moderation_queue_by_channel" ON "moderation_queue" USING btree ("tenant_id","channel_id","status","created_at");--> statement-breakpoint
CREATE INDEX "moderation_queue_by_message" ON "moderation_queue" USING btree ("tenant_id","message_id");--> statement-breakpoint
CREATE INDEX "moderation_queue_by_user" ON "moderation_queue" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "moderation_queue_by_reviewer" ON "moderation_queue" USING btree ("tenant_id","reviewed_by");
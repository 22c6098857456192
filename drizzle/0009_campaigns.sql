CREATE TABLE "campaign_targets" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"campaign_id" uuid NOT NULL,
	"user_id" uuid,
	"channel_id" uuid,
	"status" text DEFAULT 'pending' NOT NULL,
	"code" text,
	"message_id" uuid,
	"seq" bigint,
	"reached" boolean DEFAULT false NOT NULL,
	"sent_at" timestamptz,
	CONSTRAINT "campaign_targets_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "campaign_targets_status" CHECK ("campaign_targets"."status" in ('pending', 'sent', 'failed'))
);
--> statement-breakpoint
CREATE TABLE "campaigns" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"kind" text DEFAULT 'broadcast' NOT NULL,
	"name" text NOT NULL,
	"message" jsonb NOT NULL,
	"sender_id" uuid,
	"channel_type" text DEFAULT 'messaging' NOT NULL,
	"status" text DEFAULT 'draft' NOT NULL,
	"scheduled_for" timestamptz,
	"started_at" timestamptz,
	"finished_at" timestamptz,
	"error" text,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "campaigns_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "campaigns_kind" CHECK ("campaigns"."kind" in ('broadcast')),
	CONSTRAINT "campaigns_status" CHECK ("campaigns"."status" in ('draft', 'scheduled', 'sending', 'paused', 'completed', 'failed', 'cancelled'))
);
--> statement-breakpoint
ALTER TABLE "campaign_targets" ADD CONSTRAINT "campaign_targets_campaign_id_fk" FOREIGN KEY ("tenant_id","campaign_id") REFERENCES "public"."campaigns"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "campaign_targets" ADD CONSTRAINT "campaign_targets_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "campaign_targets" ADD CONSTRAINT "campaign_targets_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "campaigns" ADD CONSTRAINT "campaigns_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "campaigns" ADD CONSTRAINT "campaigns_sender_id_fk" FOREIGN KEY ("tenant_id","sender_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE set null ("sender_id") ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "campaign_targets_by_user" ON "campaign_targets" USING btree ("tenant_id","campaign_id","user_id") WHERE "campaign_targets"."user_id" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "campaign_targets_by_channel" ON "campaign_targets" USING btree ("tenant_id","campaign_id","channel_id") WHERE "campaign_targets"."user_id" is null;--> statement-breakpoint
CREATE INDEX "campaign_targets_by_status" ON "campaign_targets" USING btree ("tenant_id","campaign_id","status","id");--> statement-breakpoint
CREATE INDEX "campaign_targets_of_user" ON "campaign_targets" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "campaign_targets_of_channel" ON "campaign_targets" USING btree ("tenant_id","channel_id");--> statement-breakpoint
CREATE INDEX "campaigns_by_status" ON "campaigns" USING btree ("tenant_id","status","id");--> statement-breakpoint
CREATE INDEX "campaigns_by_schedule" ON "campaigns" USING btree ("tenant_id","scheduled_for") WHERE "campaigns"."status" = 'scheduled';--> statement-breakpoint
CREATE INDEX "campaigns_by_sender" ON "campaigns" USING btree ("tenant_id","sender_id");
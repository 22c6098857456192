CREATE TABLE "push_preferences" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"channel_id" uuid,
	"level" text NOT NULL,
	"snoozed_until" timestamptz,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "push_preferences_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "push_preferences_level" CHECK ("push_preferences"."level" in ('all', 'mentions', 'none'))
);
--> statement-breakpoint
CREATE TABLE "push_tasks" (
	"tenant_id" uuid NOT NULL,
	"message_id" uuid NOT NULL,
	"after_user" uuid DEFAULT '00000000-0000-0000-0000-000000000000' NOT NULL,
	"after_device" uuid DEFAULT '00000000-0000-0000-0000-000000000000' NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "push_tasks_tenant_id_message_id_pk" PRIMARY KEY("tenant_id","message_id")
);
--> statement-breakpoint
CREATE TABLE "push_templates" (
	"tenant_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"title" text NOT NULL,
	"body" text NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "push_templates_tenant_id_kind_pk" PRIMARY KEY("tenant_id","kind"),
	CONSTRAINT "push_templates_kind" CHECK ("push_templates"."kind" in ('message', 'mention', 'reply'))
);
--> statement-breakpoint
ALTER TABLE "deliveries" DROP CONSTRAINT "deliveries_medium";--> statement-breakpoint
ALTER TABLE "integrations" DROP CONSTRAINT "integrations_medium";--> statement-breakpoint
ALTER TABLE "push_preferences" ADD CONSTRAINT "push_preferences_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "push_preferences" ADD CONSTRAINT "push_preferences_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "push_tasks" ADD CONSTRAINT "push_tasks_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "push_templates" ADD CONSTRAINT "push_templates_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "push_preferences_by_channel" ON "push_preferences" USING btree ("tenant_id","user_id","channel_id") WHERE "push_preferences"."channel_id" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "push_preferences_by_user" ON "push_preferences" USING btree ("tenant_id","user_id") WHERE "push_preferences"."channel_id" is null;--> statement-breakpoint
CREATE INDEX "push_preferences_of_user" ON "push_preferences" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "push_preferences_of_channel" ON "push_preferences" USING btree ("tenant_id","channel_id");--> statement-breakpoint
CREATE INDEX "push_tasks_by_age" ON "push_tasks" USING btree ("created_at");--> statement-breakpoint
ALTER TABLE "deliveries" ADD CONSTRAINT "deliveries_medium" CHECK ("deliveries"."medium" in ('chat', 'email', 'sms', 'whatsapp', 'twitter', 'facebook', 'instagram', 'linkedin', 'custom', 'push'));--> statement-breakpoint
ALTER TABLE "integrations" ADD CONSTRAINT "integrations_medium" CHECK ("integrations"."medium" in ('chat', 'email', 'sms', 'whatsapp', 'twitter', 'facebook', 'instagram', 'linkedin', 'custom', 'push'));
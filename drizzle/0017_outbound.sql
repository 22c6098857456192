CREATE TABLE "outbound_raw" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"message_id" uuid,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "outbound_raw_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
CREATE TABLE "scheduled_emails" (
	"tenant_id" uuid NOT NULL,
	"message_id" uuid NOT NULL,
	"inbox_id" uuid NOT NULL,
	"draft" jsonb NOT NULL,
	CONSTRAINT "scheduled_emails_tenant_id_message_id_pk" PRIMARY KEY("tenant_id","message_id")
);
--> statement-breakpoint
ALTER TABLE "emails" ADD COLUMN "stream" text;--> statement-breakpoint
ALTER TABLE "emails" ADD COLUMN "tags" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "outbound_raw" ADD CONSTRAINT "outbound_raw_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE set null ("message_id") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "scheduled_emails" ADD CONSTRAINT "scheduled_emails_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "scheduled_emails" ADD CONSTRAINT "scheduled_emails_inbox_id_fk" FOREIGN KEY ("tenant_id","inbox_id") REFERENCES "public"."inboxes"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "outbound_raw_by_message" ON "outbound_raw" USING btree ("tenant_id","message_id");--> statement-breakpoint
CREATE INDEX "outbound_raw_finished" ON "outbound_raw" USING btree ("created_at") WHERE "outbound_raw"."message_id" is null;--> statement-breakpoint
CREATE INDEX "scheduled_emails_by_inbox" ON "scheduled_emails" USING btree ("tenant_id","inbox_id");
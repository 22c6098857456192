CREATE TABLE "provider_callbacks" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"integration_id" uuid NOT NULL,
	"digest" text NOT NULL,
	"headers" jsonb NOT NULL,
	"body" text NOT NULL,
	"heard" jsonb NOT NULL,
	"status" text NOT NULL,
	"error" text,
	"times" integer DEFAULT 1 NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "provider_callbacks_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "provider_callbacks_status" CHECK ("provider_callbacks"."status" in ('heard', 'waiting', 'unknown', 'failed'))
);
--> statement-breakpoint
ALTER TABLE "delivery_events" ADD COLUMN "taken_back_at" timestamptz;--> statement-breakpoint
ALTER TABLE "provider_callbacks" ADD CONSTRAINT "provider_callbacks_integration_id_fk" FOREIGN KEY ("tenant_id","integration_id") REFERENCES "public"."integrations"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "provider_callbacks_by_digest" ON "provider_callbacks" USING btree ("tenant_id","integration_id","digest");--> statement-breakpoint
CREATE INDEX "provider_callbacks_by_integration" ON "provider_callbacks" USING btree ("tenant_id","integration_id","id");--> statement-breakpoint
CREATE INDEX "provider_callbacks_by_status" ON "provider_callbacks" USING btree ("tenant_id","status","id");--> statement-breakpoint
CREATE INDEX "provider_callbacks_by_age" ON "provider_callbacks" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "deliveries_by_medium" ON "deliveries" USING btree ("tenant_id","medium","created_at");
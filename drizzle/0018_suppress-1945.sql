CREATE TABLE "bounces" (
	"tenant_id" uuid NOT NULL,
	"delivery_id" uuid NOT NULL,
	"address" text NOT NULL,
	"hard" boolean NOT NULL,
	"sent_at" timestamptz NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "bounces_tenant_id_delivery_id_pk" PRIMARY KEY("tenant_id","delivery_id")
);
--> statement-breakpoint
CREATE TABLE "suppressions" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"address" text NOT NULL,
	"stream" text NOT NULL,
	"reason" text NOT NULL,
	"details" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"delivery_id" uuid,
	"message_id" uuid,
	"created_by" uuid,
	"expires_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "suppressions_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "suppressions_reason" CHECK ("suppressions"."reason" in ('complaint', 'unsubscribe', 'bounce', 'provider', 'manual', 'softBounces'))
);
--> statement-breakpoint
ALTER TABLE "bounces" ADD CONSTRAINT "bounces_delivery_id_fk" FOREIGN KEY ("tenant_id","delivery_id") REFERENCES "public"."deliveries"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "suppressions" ADD CONSTRAINT "suppressions_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "suppressions" ADD CONSTRAINT "suppressions_created_by_fk" FOREIGN KEY ("tenant_id","created_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE set null ("created_by") ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "bounces_by_address" ON "bounces" USING btree ("tenant_id","address","sent_at");--> statement-breakpoint
CREATE INDEX "bounces_by_age" ON "bounces" USING btree ("created_at");--> statement-breakpoint
CREATE UNIQUE INDEX "suppressions_by_address" ON "suppressions" USING btree ("tenant_id","address","stream","reason");--> statement-breakpoint
CREATE INDEX "suppressions_by_stream" ON "suppressions" USING btree ("tenant_id","stream","id");--> statement-breakpoint
CREATE INDEX "suppressions_by_reason" ON "suppressions" USING btree ("tenant_id","reason","id");--> statement-breakpoint
CREATE INDEX "suppressions_by_creator" ON "suppressions" USING btree ("tenant_id","created_by");--> statement-breakpoint
CREATE INDEX "suppressions_expiring" ON "suppressions" USING btree ("expires_at") WHERE "suppressions"."expires_at" is not null;
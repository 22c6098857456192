DROP INDEX "streams_by_last_message";--> statement-breakpoint
DROP INDEX "contact_identities_by_value";--> statement-breakpoint
DROP INDEX "audit_logs_by_target";--> statement-breakpoint
ALTER TABLE "streams" ADD COLUMN "created_at" timestamptz DEFAULT now() NOT NULL;--> statement-breakpoint
CREATE INDEX "channel_members_by_joining" ON "channel_members" USING btree ("tenant_id","channel_id","joined_at","user_id");--> statement-breakpoint
CREATE INDEX "streams_by_latest" ON "streams" USING btree ("tenant_id","kind",coalesce("last_message_at", "created_at"),"id");--> statement-breakpoint
CREATE INDEX "users_deactivated" ON "users" USING btree ("tenant_id","id") WHERE "users"."deactivated_at" is not null;--> statement-breakpoint
CREATE INDEX "webhook_attempts_by_time" ON "webhook_attempts" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "webhook_deliveries_by_time" ON "webhook_deliveries" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE UNIQUE INDEX "contact_identities_by_value" ON "contact_identities" USING btree ("tenant_id","value","medium");--> statement-breakpoint
CREATE INDEX "audit_logs_by_target" ON "audit_logs" USING btree ("tenant_id","target_id","created_at");
CREATE INDEX "deliveries_by_recipient" ON "deliveries" USING btree ("tenant_id","recipient","created_at");--> statement-breakpoint
CREATE INDEX "webhook_secrets_by_master" ON "webhook_secrets" USING btree ("master_version");--> statement-breakpoint
CREATE INDEX "webhook_secrets_by_expiry" ON "webhook_secrets" USING btree ("expires_at") WHERE "webhook_secrets"."expires_at" is not null;
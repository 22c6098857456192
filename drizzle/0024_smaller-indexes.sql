DROP INDEX "messages_by_client_id";--> statement-breakpoint
DROP INDEX "messages_by_contact";--> statement-breakpoint
DROP INDEX "messages_by_parent";--> statement-breakpoint
DROP INDEX "messages_by_quoted";--> statement-breakpoint
DROP INDEX "messages_by_pinner";--> statement-breakpoint
DROP INDEX "audit_logs_by_user";--> statement-breakpoint
CREATE UNIQUE INDEX "messages_by_client_id" ON "messages" USING btree ("tenant_id","channel_id","user_id","client_id") WHERE "messages"."client_id" is not null;--> statement-breakpoint
CREATE INDEX "messages_by_contact" ON "messages" USING btree ("tenant_id","contact_id","created_at") WHERE "messages"."contact_id" is not null;--> statement-breakpoint
CREATE INDEX "messages_by_parent" ON "messages" USING btree ("tenant_id","parent_id","seq") WHERE "messages"."parent_id" is not null;--> statement-breakpoint
CREATE INDEX "messages_by_quoted" ON "messages" USING btree ("tenant_id","quoted_id") WHERE "messages"."quoted_id" is not null;--> statement-breakpoint
CREATE INDEX "messages_by_pinner" ON "messages" USING btree ("tenant_id","pinned_by") WHERE "messages"."pinned_by" is not null;--> statement-breakpoint
CREATE INDEX "audit_logs_by_user" ON "audit_logs" USING btree ("tenant_id","user_id","created_at") WHERE "audit_logs"."user_id" is not null;
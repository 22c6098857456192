ALTER TABLE "messages" ADD COLUMN "searchable" "tsvector";--> statement-breakpoint
CREATE INDEX "channels_by_language" ON "channels" USING btree ("tenant_id","language");--> statement-breakpoint
CREATE INDEX "messages_by_words" ON "messages" USING gin ("tenant_id","channel_id","searchable") WITH (gin_pending_list_limit=256);
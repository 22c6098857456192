/**
 * An object whose first call brings its code would wait for it behind its input gate; and what one request has begun to
 * load, while its caller goes away, others would wait for in vain. Neither happens outside of tests, where all code is there.
 */
import "../../durable-objects/channel";
import "../../durable-objects/limiter";
import "../../durable-objects/user";

"""Every route as OpenAPI describes it."""

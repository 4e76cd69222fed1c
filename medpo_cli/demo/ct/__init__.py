"""Real chest CT crops with real reader contours inserted, exact masks and twins, and real lesions."""

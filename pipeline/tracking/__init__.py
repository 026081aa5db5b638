"""Single-camera tracking and the choice of crops; read kalman, association, table, tracker, then sampling."""

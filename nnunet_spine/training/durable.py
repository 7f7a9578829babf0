"""What makes a training of nnU-Net survive a cluster: mixed into this package's trainers and into nnU-Net's own."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_spine.errors import WorkFailed
from nnunet_spine.files import remove_partial
from nnunet_spine.nnunet.checkpoint_reading import TRUST_WARNING, handing_over
from nnunet_spine.nnunet.environment import TENSORBOARD_VARIABLE, is_trusted
from nnunet_spine.progress import Progress, silent
from nnunet_spine.training.checkpoints import (
    LATEST,
    PREVIOUS,
    RANDOM_STATES,
    checkpoint_of,
    read_checkpoint,
    restore_random_states,
    write_checkpoint,
)
from nnunet_spine.training.epoch_log import Epoch, append_epoch, append_event, read_epochs
from nnunet_spine.training.fold_lock import sole_trainer
from nnunet_spine.training.stopping import STOP, Stopped
from nnunet_spine.training.tracking import write_events

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as Base
else:
    Base = object


logger = logging.getLogger(__name__)


class DurableTraining(Base):
    """A checkpoint after each epoch, a lock on the fold, an end by signal that loses the running epoch and no more.

    To be named before nnU-Net's trainer among the bases of a class. Nothing of nnU-Net's loop, files or commands
    changes; `nnUNetv2_train --c` goes on from these checkpoints.
    """

    progress: Progress = staticmethod(silent)

    @property
    def fold_folder(self) -> Path:
        """The fold's folder below nnUNet_results."""
        return Path(self.output_folder)

    def run_training(self) -> None:
        """Train as nnU-Net does.

        Raises
        ------
        Stopped
            By SIGTERM or SIGUSR1.
        WorkFailed
            Where another process trains this fold, or the loss is no number.
        """
        with sole_trainer(self.fold_folder), STOP.listening():
            remove_partial(self.fold_folder / LATEST)
            append_event(self.fold_folder, "started", epoch=self.current_epoch)
            try:
                super().run_training()
            except BaseException as error:
                self._log_end(error)
                raise
            append_event(self.fold_folder, "finished", epoch=self.current_epoch)

    def _log_end(self, error: BaseException) -> None:
        """Tell the log why training ended; a full disk must not hide the reason."""
        stopped = isinstance(error, (Stopped, KeyboardInterrupt)) or STOP.received is not None
        reason = STOP.received.name if STOP.received else type(error).__name__
        try:
            append_event(self.fold_folder, "stopped" if stopped else "failed", epoch=self.current_epoch, reason=reason)
            if stopped:
                self.print_to_log_file(
                    f"stopped by {reason} after {self.current_epoch} of {self.num_epochs} epochs; run again to go on"
                )
        except OSError:
            pass

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the test cases as nnU-Net does."""
        with sole_trainer(self.fold_folder), STOP.listening():
            super().perform_actual_validation(save_probabilities)

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Stop where the loss is no number, leaving the last checkpoint as it is.

        Raises
        ------
        WorkFailed
            Where a batch's loss is not finite.
        """
        super().on_train_epoch_end(train_outputs)
        if not math.isfinite(self.logger.get_value("train_losses", step=-1)):
            raise WorkFailed(
                f"The loss of epoch {self.current_epoch} is not a finite number. The checkpoint of the epoch before is "
                f"kept in {self.output_folder}. Check the preprocessed images, or lower the learning rate."
            )

    def tell_epoch(self) -> None:
        """Add the epoch that has just ended, with its checkpoint, to the logs, and tell the progress."""
        epoch = self._epoch_record()
        append_epoch(self.fold_folder, epoch)
        if os.environ.get(TENSORBOARD_VARIABLE):
            write_events(self.fold_folder, read_epochs(self.fold_folder))
        self.progress(epoch.epoch, epoch.epochs, f"loss {epoch.train_loss:.3f}, Dice {epoch.pseudo_dice or 0:.3f}")

    def _epoch_record(self) -> Epoch:
        train, test, dice, rate, start, end = (
            float(self.logger.get_value(key, step=-1))
            for key in (
                "train_losses",
                "val_losses",
                "mean_fg_dice",
                "lrs",
                "epoch_start_timestamps",
                "epoch_end_timestamps",
            )
        )
        test_loss, pseudo_dice = (value if math.isfinite(value) else None for value in (test, dice))
        return Epoch(self.current_epoch, self.num_epochs, train, test_loss, pseudo_dice, rate, end - start)

    def save_checkpoint(self, filename: str) -> None:
        """Write nnU-Net's checkpoint, complete or not at all; a signal waits until it is there."""
        if self.local_rank != 0:
            return
        if self.disable_checkpointing:
            self.print_to_log_file("No checkpoint written, checkpointing is disabled")
            return
        with STOP.held():
            write_checkpoint(Path(filename), checkpoint_of(self))

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Go on from a checkpoint; a damaged one gives way to the one before, and that is said.

        Raises
        ------
        WorkFailed
            If none can be read, or it is of another network.
        UntrustedCheckpoint
            If it holds more than data, and is not trusted (`environment.is_trusted`).
        """
        if not isinstance(filename_or_checkpoint, str):
            super().load_checkpoint(filename_or_checkpoint)
            return
        if is_trusted():
            logger.warning(TRUST_WARNING)
        path, content, damaged = read_checkpoint(Path(filename_or_checkpoint), self.device)
        for name in damaged:
            message = f"{name} is damaged; going on after epoch {content['current_epoch']} with {path.name}"
            self.print_to_log_file(message)
            logger.warning(message)
            append_event(self.fold_folder, "damaged", epoch=content["current_epoch"], reason=message)
        try:
            with handing_over(content):
                super().load_checkpoint(str(path))
            if RANDOM_STATES in content:
                restore_random_states(content[RANDOM_STATES])
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise WorkFailed(
                f"{path} is not of this training: its content does not fit network and optimiser. Remove it to train "
                "the fold from its start, or give the plans that it was trained with."
            ) from error

    def on_train_end(self) -> None:
        """Write the final checkpoint as nnU-Net does; then the one before the last has served."""
        with STOP.held():
            super().on_train_end()
            (self.fold_folder / PREVIOUS).unlink(missing_ok=True)
